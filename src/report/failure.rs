use std::{borrow::Cow, error::Error, fmt, io};

use super::{Observations, PoolNumbers, Reason, Value, observation::bounded, redact::redact};

/// A chain of sources that loops must not hang a probe.
const CHAIN_LIMIT: usize = 16;

/// Why a check says that its dependency is down.
///
/// Three layers with three audiences: the [`Reason`] for everybody who may see
/// details, an optional message for the same people, and the raw error for the
/// log only. Any [`std::error::Error`] converts: `io` errors (also as a source)
/// to their own reason, all others to [`Reason::Failed`]. Its text is **not**
/// the message, since error texts carry hosts, users and worse.
pub struct Failure {
    reason: Reason,
    message: Option<Cow<'static, str>>,
    source: Option<Box<dyn Error + Send + Sync>>,
    pub(crate) observations: Observations,
}

impl Failure {
    /// A failure for `reason`, without message or source.
    pub fn new(reason: Reason) -> Self {
        Self {
            reason,
            message: None,
            source: None,
            observations: Observations::default(),
        }
    }

    /// Adds a sentence for those allowed details. It must hold no credentials; over 256 bytes are cut.
    #[must_use]
    pub fn message(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.message = Some(bounded(message.into()));
        self
    }

    /// Adds the raw error. It reaches the log and nothing else.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds a value that the check saw. At most 16 are kept.
    #[must_use]
    pub fn observe(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Value>) -> Self {
        self.observations.push(name.into(), value.into());
        self
    }

    /// Adds the pool's numbers.
    #[must_use]
    pub fn pool(mut self, pool: PoolNumbers) -> Self {
        self.observations.pool = Some(pool);
        self
    }

    /// The reason.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    pub(crate) fn message_text(&self) -> Option<&Cow<'static, str>> {
        self.message.as_ref()
    }

    /// The raw error with its chain of sources, without credentials: for the log only.
    pub(crate) fn cause_for_the_log(&self) -> Option<String> {
        let mut text = String::new();
        let mut next = self.source().map(|source| source as &(dyn Error + 'static));
        for _ in 0..CHAIN_LIMIT {
            let Some(error) = next else { break };
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&error.to_string());
            next = error.source();
        }
        (!text.is_empty()).then(|| redact(&text))
    }

    /// The raw error, for the log.
    pub fn source(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.source.as_deref()
    }
}

/// Without the source: whoever formats a failure must not print a secret by accident.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure")
            .field("reason", &self.reason)
            .field("message", &self.message)
            .finish_non_exhaustive()
    }
}

/// `reason` or `reason: message`, never the source.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.message {
            Some(message) => write!(f, "{}: {message}", self.reason),
            None => self.reason.fmt(f),
        }
    }
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Self {
        Self::new(reason)
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(reason_in_chain(&error)).caused_by(error)
    }
}

/// The reason of the first `io` error in the chain of sources.
fn reason_in_chain(error: &(dyn Error + 'static)) -> Reason {
    let mut next = Some(error);
    for _ in 0..CHAIN_LIMIT {
        let Some(error) = next else { break };
        if let Some(reason) = error.downcast_ref().and_then(reason_of_io) {
            return reason;
        }
        next = error.source();
    }
    Reason::Failed
}

/// The word for an `io` error, by kind; by text only where `std` gives no kind.
pub(crate) fn reason_of_io(error: &io::Error) -> Option<Reason> {
    Some(match error.kind() {
        // A missing Unix socket is nobody listening.
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Reason::Refused,
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => Reason::Reset,
        io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::NetworkDown
        | io::ErrorKind::AddrNotAvailable => Reason::Unreachable,
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Reason::Timeout,
        io::ErrorKind::InvalidData => Reason::Protocol,
        // The resolver has no code of its own in `std`: by text, where there is no code.
        _ if error.raw_os_error().is_none()
            && error.to_string().starts_with("failed to lookup address") =>
        {
            Reason::Dns
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::{io, num::ParseIntError};

    use super::{Failure, Reason};

    #[test]
    fn an_io_error_keeps_its_reason_and_hides_its_text() {
        let failure = Failure::from(io::Error::new(
            io::ErrorKind::ConnectionRefused,
            "password=hunter2",
        ));
        assert_eq!(failure.reason(), Reason::Refused);
        assert!(!format!("{failure} {failure:?}").contains("hunter2"));
        assert!(failure.source().is_some());
    }

    #[test]
    fn any_other_error_is_failed() {
        let error: ParseIntError = "x".parse::<u8>().expect_err("not a number");
        assert_eq!(Failure::from(error).reason(), Reason::Failed);
    }

    #[test]
    fn question_mark_converts() {
        fn check() -> Result<(), Failure> {
            "x".parse::<u8>()?;
            Ok(())
        }
        assert!(check().is_err());
    }
}

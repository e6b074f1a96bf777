use std::{borrow::Cow, error::Error, fmt, io};

use super::{Observations, ObservedValue, PoolStats, Reason, observation::bounded, redact::redact};

/// A chain of sources that loops must not hang a probe.
const CHAIN_LIMIT: usize = 16;

/// The result of a check whose dependency is down.
///
/// Callers with details see the [`Reason`] and the optional message. The raw error goes to the log only, by
/// its `Display` text and that of its sources, with known forms of credentials masked. Any
/// [`std::error::Error`] converts: `io` errors (also as a source) to their own reason, all others to
/// [`Reason::Failed`]. Its text is **not** the message, because error texts contain hosts, users and worse.
pub struct Failure {
    reason: Reason,
    message: Option<Cow<'static, str>>,
    source: Option<Box<dyn Error + Send + Sync>>,
    pub(crate) observations: Observations,
}

impl Failure {
    /// Creates a failure for `reason`, without message or source.
    pub fn new(reason: Reason) -> Self {
        Self {
            reason,
            message: None,
            source: None,
            observations: Observations::default(),
        }
    }

    /// Adds a message for callers with details, without credentials. Text over 256 bytes is cut.
    #[must_use]
    pub fn message(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.message = Some(bounded(message.into()));
        self
    }

    /// Adds the raw error, for the log only.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds a value that the check measured. At most 16 are kept.
    #[must_use]
    pub fn observe(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<ObservedValue>,
    ) -> Self {
        self.observations.push(name.into(), value.into());
        self
    }

    /// Adds the pool statistics.
    #[must_use]
    pub fn pool(mut self, pool: PoolStats) -> Self {
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
            let part = error.to_string();
            // Many errors repeat the text of their source.
            if !text.ends_with(&part) {
                if !text.is_empty() {
                    text.push_str(": ");
                }
                text.push_str(&part);
            }
            next = error.source();
        }
        (!text.is_empty()).then(|| redact(&text))
    }

    /// A copy whose source is the text of the chain of sources.
    #[cfg(feature = "pool")]
    pub(crate) fn duplicate(&self) -> Self {
        Self {
            reason: self.reason,
            message: self.message.clone(),
            source: self.cause_for_the_log().map(Into::into),
            observations: self.observations.clone(),
        }
    }

    /// The same for another reason.
    #[cfg(feature = "pool")]
    pub(crate) fn with_reason(self, reason: Reason) -> Self {
        Self { reason, ..self }
    }

    /// Takes the raw error out and returns its text, as [`cause_for_the_log`](Self::cause_for_the_log).
    ///
    /// Its `Display` and its `Drop` are the app's code: no lock may be held.
    pub(crate) fn take_cause(&mut self) -> Option<String> {
        let cause = self.cause_for_the_log();
        self.source = None;
        cause
    }

    /// The raw error, for the log.
    pub fn source(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.source.as_deref()
    }
}

/// Without the source, which may contain a secret.
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
        next = inside(error).or_else(|| error.source());
    }
    Reason::Failed
}

/// What an `io` error is made of: its `source` is that one's source, and leaves it out.
fn inside<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    let inner = error.downcast_ref::<io::Error>()?.get_ref()?;
    Some(inner)
}

/// The reason of an `io` error while connecting, where a missing Unix socket means that nobody listens.
#[cfg(feature = "pool")]
pub(crate) fn reason_of_connect(error: &io::Error) -> Option<Reason> {
    match error.kind() {
        io::ErrorKind::NotFound => Some(Reason::Refused),
        // Of a Unix socket, as of a login.
        io::ErrorKind::PermissionDenied if error.raw_os_error().is_some() => Some(Reason::Auth),
        _ => reason_of_io(error),
    }
}

/// The reason of an `io` error, by kind; by text only if `std` gives no kind.
fn reason_of_io(error: &io::Error) -> Option<Reason> {
    Some(match error.kind() {
        io::ErrorKind::ConnectionRefused => Reason::Refused,
        // A file, in a check of the app's own.
        io::ErrorKind::NotFound => Reason::NotFound,
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
    use std::{error::Error, fmt, io, num::ParseIntError};

    use super::{Failure, Reason, reason_of_io};

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
    fn each_kind_of_io_error_has_its_reason() {
        use io::ErrorKind as Kind;
        let table = [
            (Kind::ConnectionRefused, Some(Reason::Refused)),
            (Kind::NotFound, Some(Reason::NotFound)),
            (Kind::ConnectionReset, Some(Reason::Reset)),
            (Kind::ConnectionAborted, Some(Reason::Reset)),
            (Kind::BrokenPipe, Some(Reason::Reset)),
            (Kind::UnexpectedEof, Some(Reason::Reset)),
            (Kind::HostUnreachable, Some(Reason::Unreachable)),
            (Kind::NetworkUnreachable, Some(Reason::Unreachable)),
            (Kind::NetworkDown, Some(Reason::Unreachable)),
            (Kind::AddrNotAvailable, Some(Reason::Unreachable)),
            (Kind::TimedOut, Some(Reason::Timeout)),
            (Kind::WouldBlock, Some(Reason::Timeout)),
            (Kind::InvalidData, Some(Reason::Protocol)),
            (Kind::Other, None),
            (Kind::PermissionDenied, None),
        ];
        for (kind, expected) in table {
            let error = io::Error::new(kind, "x");
            assert_eq!(reason_of_io(&error), expected, "{kind}");
            let other = expected.unwrap_or(Reason::Failed);
            // Wherever in the chain it is.
            let wrapped = io::Error::other(error);
            assert_eq!(Failure::from(wrapped).reason(), other, "{kind}");
        }
        let lookup =
            io::Error::other("failed to lookup address information: Name or service not known");
        assert_eq!(reason_of_io(&lookup), Some(Reason::Dns));
        // One with a code says by that what it is.
        assert_eq!(reason_of_io(&io::Error::from_raw_os_error(-1)), None);
    }

    #[test]
    fn it_shows_reason_and_message_and_keeps_the_rest_for_the_log() {
        #[derive(Debug)]
        struct Outer(io::Error);
        impl fmt::Display for Outer {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("cannot log in")
            }
        }
        impl Error for Outer {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                Some(&self.0)
            }
        }
        let inner = io::Error::other("user app password=hunter2 refused");
        let failure = Failure::new(Reason::Auth).caused_by(Outer(inner));
        assert_eq!(failure.to_string(), "auth");
        assert_eq!(failure.message_text(), None);
        let log = failure.cause_for_the_log().expect("there is a source");
        assert!(log.starts_with("cannot log in: user app "), "{log}");
        assert!(!log.contains("hunter2"), "{log}");
        let failure = failure.message("no such user");
        assert_eq!(failure.to_string(), "auth: no such user");
        assert_eq!(
            failure.message_text().map(|text| &**text),
            Some("no such user")
        );
        assert_eq!(
            format!("{failure:?}"),
            r#"Failure { reason: Auth, message: Some("no such user"), .. }"#
        );
        assert_eq!(Failure::new(Reason::Auth).cause_for_the_log(), None);
    }

    #[test]
    fn the_log_says_each_cause_once() {
        #[derive(Debug)]
        struct Wrapped(&'static str, io::Error);

        impl std::fmt::Display for Wrapped {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.0)
            }
        }

        impl std::error::Error for Wrapped {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&self.1)
            }
        }

        for (outer, expected) in [
            ("no route", "no route"),
            ("connect: no route", "connect: no route"),
            ("connect", "connect: no route"),
        ] {
            let error = Wrapped(outer, io::Error::other("no route"));
            let cause = Failure::from(error).cause_for_the_log();
            assert_eq!(cause.as_deref(), Some(expected));
        }
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

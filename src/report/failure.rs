use std::{borrow::Cow, error::Error, fmt, io, iter};

use super::{Observations, ObservedValue, PoolStats, Reason, observation::bounded, redact::redact};

/// Sources past this number are ignored, because a chain that loops must not hang a probe.
const CHAIN_LIMIT: usize = 16;

/// The result of a check whose dependency is down.
///
/// Callers with details see the [`Reason`] and the optional message. The raw error goes to the log only: its
/// `Display` text and that of its sources, with known forms of credentials masked.
///
/// Any [`std::error::Error`] converts. An `io` error, also as a source, gets the reason of its kind; any other
/// error gets [`Reason::Failed`]. Its text does **not** become the message, because error text often contains
/// hosts, users and passwords.
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

    /// Adds a message for callers with details. Default: none. Text over 256 bytes is cut.
    ///
    /// It must not contain credentials.
    #[must_use]
    pub fn message(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.message = Some(bounded(message.into()));
        self
    }

    /// Adds the raw error, for the log only. Default: none.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds a value that the check measured. Only the first 16 are kept.
    #[must_use]
    pub fn observe(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<ObservedValue>,
    ) -> Self {
        self.observations.push(name.into(), value.into());
        self
    }

    /// Adds the pool statistics. Default: none.
    #[must_use]
    pub fn pool(mut self, pool: PoolStats) -> Self {
        self.observations.pool = Some(pool);
        self
    }

    /// Returns the reason.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    pub(crate) fn message_text(&self) -> Option<&Cow<'static, str>> {
        self.message.as_ref()
    }

    /// Returns the text of the raw error and its sources, credentials masked: for the log only.
    pub(crate) fn cause_for_the_log(&self) -> Option<String> {
        let mut text = String::new();
        let source = self.source().map(|source| source as &(dyn Error + 'static));
        for error in iter::successors(source, |&error| error.source()).take(CHAIN_LIMIT) {
            let part = error.to_string();
            // Many errors repeat the text of their source.
            if !text.ends_with(&part) {
                if !text.is_empty() {
                    text.push_str(": ");
                }
                text.push_str(&part);
            }
        }
        (!text.is_empty()).then(|| redact(&text))
    }

    /// Copies the failure; the source of the copy is the text of the chain of sources.
    #[cfg(feature = "pool")]
    pub(crate) fn duplicate(&self) -> Self {
        Self {
            reason: self.reason,
            message: self.message.clone(),
            source: self.cause_for_the_log().map(Into::into),
            observations: self.observations.clone(),
        }
    }

    /// Replaces the reason.
    #[cfg(feature = "pool")]
    pub(crate) fn with_reason(self, reason: Reason) -> Self {
        Self { reason, ..self }
    }

    /// Drops the raw error and returns its text, as [`cause_for_the_log`](Self::cause_for_the_log).
    ///
    /// Its `Display` and `Drop` are code of the app, so the caller must not hold a lock.
    pub(crate) fn take_cause(&mut self) -> Option<String> {
        let cause = self.cause_for_the_log();
        self.source = None;
        cause
    }

    /// Returns the raw error, for the log.
    pub fn source(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.source.as_deref()
    }
}

/// Prints no source, because it may contain a secret.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure")
            .field("reason", &self.reason)
            .field("message", &self.message)
            .finish_non_exhaustive()
    }
}

/// Prints `reason` or `reason: message`, never the source.
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

/// Returns the reason of the first `io` error in the chain of sources.
fn reason_in_chain(error: &(dyn Error + 'static)) -> Reason {
    let chain = iter::successors(Some(error), |&error| {
        inside(error).or_else(|| error.source())
    });
    let mut reasons = chain
        .take(CHAIN_LIMIT)
        .filter_map(|error| error.downcast_ref().and_then(reason_of_io));
    reasons.next().unwrap_or(Reason::Failed)
}

/// Returns the error inside an `io` error. `source` skips it and returns the source of the inner error.
fn inside<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    let inner = error.downcast_ref::<io::Error>()?.get_ref()?;
    Some(inner)
}

/// Returns the reason of an `io` error during a connect, where `NotFound` is a missing Unix socket.
#[cfg(feature = "pool")]
pub(crate) fn reason_of_connect(error: &io::Error) -> Option<Reason> {
    match error.kind() {
        io::ErrorKind::NotFound => Some(Reason::Refused),
        // The permissions of a Unix socket deny access, as a login does.
        io::ErrorKind::PermissionDenied if error.raw_os_error().is_some() => Some(Reason::Auth),
        _ => reason_of_io(error),
    }
}

/// Returns the reason of an `io` error by its kind, or by its text if `std` has no kind for it.
fn reason_of_io(error: &io::Error) -> Option<Reason> {
    Some(match error.kind() {
        io::ErrorKind::ConnectionRefused => Reason::Refused,
        // A custom check did not find a file.
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
        // `std` has no kind for errors of the resolver.
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
    use std::{error::Error, fmt, io};

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
            let wrapped = io::Error::other(error);
            assert_eq!(Failure::from(wrapped).reason(), other, "{kind}");
        }
        let lookup =
            io::Error::other("failed to lookup address information: Name or service not known");
        assert_eq!(reason_of_io(&lookup), Some(Reason::Dns));
        // An error with a code of the system is not of the resolver.
        assert_eq!(reason_of_io(&io::Error::from_raw_os_error(-1)), None);
    }

    #[cfg(feature = "pool")]
    #[test]
    fn only_the_system_denies_permission_to_connect() {
        use super::reason_of_connect;
        const EACCES: i32 = 13;
        let of_library = io::Error::from(io::ErrorKind::PermissionDenied);
        assert_eq!(reason_of_connect(&of_library), None);
        let of_system = io::Error::from_raw_os_error(EACCES);
        assert_eq!(reason_of_connect(&of_system), Some(Reason::Auth));
    }

    #[derive(Debug)]
    struct Wrapped(&'static str, io::Error);

    impl fmt::Display for Wrapped {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Wrapped {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.1)
        }
    }

    #[test]
    fn reason_and_message_are_shown_and_the_cause_is_only_logged() {
        let inner = io::Error::other("user app password=hunter2 refused");
        let failure = Failure::new(Reason::Auth).caused_by(Wrapped("cannot log in", inner));
        assert_eq!(failure.to_string(), "auth");
        assert_eq!(failure.message_text(), None);
        let log = failure.cause_for_the_log().expect("there is a source");
        assert_eq!(log, "cannot log in: user app password=*** refused");
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
    fn the_log_contains_each_cause_once() {
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
        fn check() -> Result<(), Failure> {
            "x".parse::<u8>()?;
            Ok(())
        }
        let failure = check().expect_err("not a number");
        assert_eq!(failure.reason(), Reason::Failed);
    }
}

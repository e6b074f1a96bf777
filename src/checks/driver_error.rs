//! The error of a driver, extracted from the error of a manager.

use std::{any::Any, error::Error, io};

use super::connect_timeout::ConnectTimeoutError;
use crate::report::{Failure, Reason, reason_of_connect};

/// The kind of a manager's error.
pub(super) enum DriverError<T, E> {
    /// The driver's own error.
    Driver(T),
    /// The limit of a [`ConnectTimeoutManager`](super::ConnectTimeoutManager) was reached.
    TimedOut,
    /// An error of another type, of a manager that this crate does not know.
    Other(E),
}

/// Finds the driver's error `T`, also inside a [`ConnectTimeoutError`].
///
/// By type and not by trait, so that every manager of the right connections is accepted.
pub(super) fn driver_error<T: 'static, E: 'static>(error: E) -> DriverError<T, E> {
    let mut slot = Some(error);
    let any: &mut dyn Any = &mut slot;
    if let Some(found) = any.downcast_mut::<Option<T>>().and_then(Option::take) {
        return DriverError::Driver(found);
    }
    if let Some(limited) = any.downcast_mut::<Option<ConnectTimeoutError<T>>>() {
        return match limited.take() {
            Some(ConnectTimeoutError::Manager(found)) => DriverError::Driver(found),
            Some(ConnectTimeoutError::TimedOut) | None => DriverError::TimedOut,
        };
    }
    match slot {
        Some(error) => DriverError::Other(error),
        // Unreachable: where it was taken above, it was returned.
        None => DriverError::TimedOut,
    }
}

/// Returns the failure for a connect that the limit has ended.
pub(super) fn connect_timed_out() -> Failure {
    Failure::new(Reason::Timeout).message(
        "no new connection within the connect timeout: it hangs while connecting or logging in",
    )
}

/// Returns the failure for an error of a type that this crate does not know.
///
/// `bb8` requires only `Debug`, which may contain credentials: only `io` and boxed errors are kept as the cause.
pub(super) fn unknown_error<E: 'static>(error: E) -> Failure {
    match driver_error::<io::Error, E>(error) {
        DriverError::Driver(error) => {
            let reason = reason_of_connect(&error).unwrap_or(Reason::Failed);
            Failure::new(reason).caused_by(error)
        }
        DriverError::TimedOut => connect_timed_out(),
        DriverError::Other(error) => boxed_error(error),
    }
}

type BoxedError = Box<dyn Error + Send + Sync>;

fn boxed_error<E: 'static>(error: E) -> Failure {
    match driver_error::<BoxedError, E>(error) {
        DriverError::Driver(error) => {
            let io = error.downcast_ref::<io::Error>();
            let reason = io.and_then(reason_of_connect).unwrap_or(Reason::Failed);
            Failure::new(reason).caused_by(error)
        }
        DriverError::TimedOut => connect_timed_out(),
        DriverError::Other(_) => Failure::new(Reason::Failed),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::{BoxedError, ConnectTimeoutError, Reason, unknown_error};

    /// Its `Debug` prints what no log may contain.
    #[derive(Debug)]
    struct Secret(#[allow(dead_code)] &'static str);

    #[test]
    fn the_cause_of_an_unknown_error_is_not_its_debug_text() {
        let failure = unknown_error(Secret("hunter2"));
        assert_eq!(failure.reason(), Reason::Failed);
        assert!(failure.cause_for_the_log().is_none());
        let failure = unknown_error::<BoxedError>("the broker is full".into());
        let cause = failure.cause_for_the_log();
        assert_eq!(cause.as_deref(), Some("the broker is full"));
    }

    #[test]
    fn wrapped_io_errors_have_their_reason() {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(unknown_error(refused()).reason(), Reason::Refused);
        let wrapped = ConnectTimeoutError::Manager(refused());
        assert_eq!(unknown_error(wrapped).reason(), Reason::Refused);
        let late = ConnectTimeoutError::<io::Error>::TimedOut;
        assert_eq!(unknown_error(late).reason(), Reason::Timeout);
        // A Unix socket that does not exist.
        let missing = io::Error::from(io::ErrorKind::NotFound);
        assert_eq!(unknown_error(missing).reason(), Reason::Refused);
    }
}

//! The failure for an error of a manager, which may contain the driver's own error.

use std::{any::Any, error::Error, io};

use super::connect_timeout::ConnectTimeoutError;
use crate::report::{Failure, Reason, reason_of_connect};

type BoxedError = Box<dyn Error + Send + Sync>;

/// Returns the failure for a manager's error, by `explain` if it is the driver's own error `T`.
///
/// By type and not by trait, so that every manager of the right connections is accepted. `bb8` requires
/// only `Debug`, which may contain credentials: of other errors only `io` and boxed ones are kept as the cause.
pub(super) fn connect_failure<T: 'static, E: 'static>(
    error: E,
    explain: impl FnOnce(T) -> Failure,
) -> Failure {
    let mut slot = Some(error);
    take(&mut slot, explain)
        .or_else(|| take(&mut slot, |error: io::Error| boxed_error(error.into())))
        .or_else(|| take(&mut slot, boxed_error))
        .unwrap_or_else(|| Reason::Failed.into())
}

/// Returns the failure for an error of a type that this crate does not know.
pub(super) fn unknown_error<E: 'static>(error: E) -> Failure {
    connect_failure(error, boxed_error)
}

/// Takes the error out of `slot` if it is a `T`, also inside a [`ConnectTimeoutError`].
fn take<T: 'static>(slot: &mut dyn Any, explain: impl FnOnce(T) -> Failure) -> Option<Failure> {
    if let Some(error) = slot.downcast_mut::<Option<T>>() {
        return error.take().map(explain);
    }
    let error = slot.downcast_mut::<Option<ConnectTimeoutError<T>>>()?;
    Some(match error.take()? {
        ConnectTimeoutError::Manager(error) => explain(error),
        ConnectTimeoutError::TimedOut => Failure::new(Reason::Timeout).message(
            "no new connection within the connect timeout: it hangs while connecting or logging in",
        ),
    })
}

fn boxed_error(error: BoxedError) -> Failure {
    let io = error.downcast_ref::<io::Error>();
    let reason = io.and_then(reason_of_connect).unwrap_or(Reason::Failed);
    Failure::new(reason).caused_by(error)
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

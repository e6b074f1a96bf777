//! The meaning of the driver's errors: by the server's code, and by the kind of `io` error.

use std::{error::Error as _, io};

use bb8_redis::redis::{ErrorKind, RedisError};

use crate::{
    checks::{
        driver_error::{DriverError, connect_timed_out, driver_error, unknown_error},
        pool::PingError,
    },
    report::{Failure, Reason, reason_of_connect},
};

/// Returns why no connection can be opened.
pub(super) fn connect_failure<E: 'static>(error: E) -> Failure {
    match driver_error::<RedisError, E>(error) {
        DriverError::Driver(error) => match error.code() {
            // In a login only `SELECT` is answered by a plain `ERR`: the database number is out of range.
            Some("ERR") => Failure::new(Reason::NotFound)
                .message("the server refuses to select the database")
                .caused_by(error),
            _ => failure(error),
        },
        DriverError::TimedOut => connect_timed_out(),
        DriverError::Other(error) => unknown_error(error),
    }
}

/// Its reason by the server's code, or by the kind of `io` error.
impl From<RedisError> for PingError {
    fn from(error: RedisError) -> Self {
        match error.code() {
            None if error.is_timeout() => Self::NoReply,
            None => Self::Broken(failure(error)),
            Some("NOPERM") => Self::Forbidden,
            Some(_) => Self::CannotServe(failure(error)),
        }
    }
}

/// Returns the failure with its reason and a message.
pub(super) fn failure(error: RedisError) -> Failure {
    let reason = reason(&error);
    let failure = match error.code() {
        Some(code) => Failure::new(reason).message(match name(code) {
            Some(name) => format!("the server answers {code}: {name}"),
            None => format!("the server answers {}", plain_code(code)),
        }),
        None if reason == Reason::Timeout => {
            Failure::new(reason).message("waiting for the server's reply")
        }
        None => Failure::new(reason),
    };
    failure.caused_by(error)
}

/// Returns the meaning of common codes.
fn name(code: &str) -> Option<&'static str> {
    Some(match code {
        "LOADING" => "loading its data set",
        "BUSY" => "running a script",
        "MISCONF" => {
            "cannot save to disk, so commands are refused: check the disk and the log of the server"
        }
        "MASTERDOWN" => "a replica without a link to its primary",
        "NOAUTH" => "a password is required",
        "WRONGPASS" => "wrong user or password",
        "NOPERM" => "the user's ACL forbids the command",
        "READONLY" => "a replica takes no writes",
        "OOM" => "maxmemory is used up: raise it or evict keys",
        "CLUSTERDOWN" => "the cluster is down",
        "NOREPLICAS" => "too few replicas for a write",
        _ => return None,
    })
}

fn reason(error: &RedisError) -> Reason {
    if let Some(code) = error.code() {
        return reason_of_code(code);
    }
    match error.kind() {
        ErrorKind::AuthenticationFailed => Reason::Auth,
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType | ErrorKind::RESP3NotSupported => {
            Reason::Protocol
        }
        ErrorKind::InvalidClientConfig => Reason::Misconfigured,
        _ if error.is_timeout() => Reason::Timeout,
        // An error of `native-tls`. The driver itself uses this kind for an empty command only.
        ErrorKind::Client => Reason::Tls,
        _ => error
            .source()
            .and_then(in_chain)
            .and_then(|io| match io.kind() {
                // An error of `rustls`. A server that is not Redis results in `Parse`.
                io::ErrorKind::InvalidData => Some(Reason::Tls),
                _ => reason_of_connect(io),
            })
            .unwrap_or(Reason::Failed),
    }
}

/// Returns the `io` error, also if the driver keeps it behind a shared pointer.
fn in_chain<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a io::Error> {
    error.downcast_ref::<io::Error>().or_else(|| {
        error
            .downcast_ref::<std::sync::Arc<dyn std::error::Error + Send + Sync>>()
            .and_then(|shared| shared.downcast_ref())
    })
}

fn reason_of_code(code: &str) -> Reason {
    match code {
        "LOADING" => Reason::Loading,
        "BUSY" | "TRYAGAIN" => Reason::Busy,
        "MISCONF" => Reason::Misconfigured,
        "MASTERDOWN" => Reason::NoPrimary,
        "NOAUTH" | "WRONGPASS" => Reason::Auth,
        "READONLY" | "NOREPLICAS" | "CLUSTERDOWN" | "OOM" => Reason::ReadOnly,
        "WRONGTYPE" => Reason::Mismatch,
        _ => Reason::Rejected,
    }
}

/// Returns `code` if it has the format of a code. Other text may be that of a server that is not Redis.
fn plain_code(code: &str) -> &str {
    let fits = code.len() <= 16 && code.bytes().all(|byte| byte.is_ascii_uppercase());
    if fits { code } else { "an error" }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::{Reason, RedisError, plain_code, reason, reason_of_code};

    #[test]
    fn an_io_error_behind_the_driver_error_is_found() {
        for (kind, expected) in [
            (io::ErrorKind::ConnectionRefused, Reason::Refused),
            (io::ErrorKind::BrokenPipe, Reason::Reset),
            (io::ErrorKind::TimedOut, Reason::Timeout),
            (io::ErrorKind::HostUnreachable, Reason::Unreachable),
            (io::ErrorKind::InvalidData, Reason::Tls),
            (io::ErrorKind::Other, Reason::Failed),
        ] {
            let error = RedisError::from(io::Error::new(kind, "text"));
            assert_eq!(reason(&error), expected, "{kind:?}");
        }
    }

    #[test]
    fn a_unix_socket_without_permission_is_auth() {
        // EACCES.
        let error = RedisError::from(io::Error::from_raw_os_error(13));
        assert_eq!(reason(&error), Reason::Auth);
    }

    #[test]
    fn each_code_has_its_reason() {
        for (code, reason) in [
            ("LOADING", Reason::Loading),
            ("BUSY", Reason::Busy),
            ("MISCONF", Reason::Misconfigured),
            ("MASTERDOWN", Reason::NoPrimary),
            ("NOAUTH", Reason::Auth),
            ("READONLY", Reason::ReadOnly),
            ("OOM", Reason::ReadOnly),
            ("ERR", Reason::Rejected),
        ] {
            assert_eq!(reason_of_code(code), reason, "{code}");
        }
    }

    #[test]
    fn text_that_is_not_a_code_is_not_repeated() {
        assert_eq!(plain_code("LOADING"), "LOADING");
        assert_eq!(plain_code("password=x"), "an error");
    }
}

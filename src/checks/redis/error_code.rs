//! The meaning of the driver's errors: by the server's code, and by the kind of `io` error.

use std::{error::Error as _, io};

use bb8_redis::redis::{ErrorKind, RedisError};

use crate::{
    checks::pool::PingError,
    report::{Failure, Reason, reason_of_connect},
};

/// Returns why no connection can be opened.
pub(super) fn login_failure(error: RedisError) -> Failure {
    match error.code() {
        // In a login only `SELECT` is answered by a plain `ERR`: the database number is out of range.
        Some("ERR") => Failure::new(Reason::NotFound)
            .message("the server refuses to select the database")
            .caused_by(error),
        _ => failure(error),
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
    let failure = match error.code() {
        Some(code) => failure_of_code(code),
        None => match reason(&error) {
            Reason::Timeout => {
                Failure::new(Reason::Timeout).message("waiting for the server's reply")
            }
            reason => reason.into(),
        },
    };
    failure.caused_by(error)
}

fn failure_of_code(code: &str) -> Failure {
    let (reason, name) = meaning(code);
    // Other text may be that of a server that is not Redis.
    let is_code = code.len() <= 16 && code.bytes().all(|byte| byte.is_ascii_uppercase());
    Failure::new(reason).message(match (name, is_code) {
        ("", true) => format!("the server answers {code}"),
        ("", false) => "the server answers an error".to_owned(),
        _ => format!("the server answers {code}: {name}"),
    })
}

/// Returns the reason, and the meaning of common codes.
fn meaning(code: &str) -> (Reason, &'static str) {
    use Reason::{Auth, Busy, Loading, Misconfigured, Mismatch, NoPrimary, ReadOnly, Rejected};
    match code {
        "LOADING" => (Loading, "loading its data set"),
        "BUSY" => (Busy, "running a script"),
        "TRYAGAIN" => (Busy, ""),
        "MISCONF" => (
            Misconfigured,
            "cannot save to disk, so commands are refused: check the disk and the log of the server",
        ),
        "MASTERDOWN" => (NoPrimary, "a replica without a link to its primary"),
        "NOAUTH" => (Auth, "a password is required"),
        "WRONGPASS" => (Auth, "wrong user or password"),
        "NOPERM" => (Rejected, "the user's ACL forbids the command"),
        "READONLY" => (ReadOnly, "a replica takes no writes"),
        "OOM" => (ReadOnly, "maxmemory is used up: raise it or evict keys"),
        "CLUSTERDOWN" => (ReadOnly, "the cluster is down"),
        "NOREPLICAS" => (ReadOnly, "too few replicas for a write"),
        "WRONGTYPE" => (Mismatch, ""),
        _ => (Rejected, ""),
    }
}

/// Returns the reason of an error without a code.
fn reason(error: &RedisError) -> Reason {
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

#[cfg(test)]
mod tests {
    use std::io;

    use super::{Reason, RedisError, failure_of_code, reason};

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
            assert_eq!(failure_of_code(code).reason(), reason, "{code}");
        }
    }

    #[test]
    fn text_that_is_not_a_code_is_not_repeated() {
        for (code, message) in [
            (
                "LOADING",
                "the server answers LOADING: loading its data set",
            ),
            ("ERR", "the server answers ERR"),
            ("password=x", "the server answers an error"),
        ] {
            let failure = failure_of_code(code);
            assert_eq!(failure.message_text().map(|text| &**text), Some(message));
        }
    }
}

//! What the driver's errors mean, by the server's code and by kind of `io` error.

use std::{error::Error as _, fmt::Debug, io};

use bb8_redis::redis::{ErrorKind, RedisError};

use crate::{
    check::Outcome,
    checks::{
        known::{Known, known},
        pool::Judgement,
    },
    report::{Failure, Reason, reason_of_io},
};

/// Why no connection can be made.
pub(super) fn refusal<E: Debug + 'static>(error: E) -> Failure {
    match known::<RedisError, E>(error) {
        Known::Driver(error) => match error.code() {
            // The one command of the login that answers a plain `ERR` is `SELECT`:
            // the number of the database is out of range.
            Some("ERR") => Failure::new(Reason::NotFound)
                .message("the server refuses to select the database")
                .caused_by(error),
            _ => failure(error),
        },
        Known::TimedOut => Failure::new(Reason::Timeout).message("the server does not answer"),
        Known::Other(error) => Failure::new(Reason::Failed).caused_by(format!("{error:?}")),
    }
}

/// What an error on an existing connection says.
pub(super) fn judge(error: RedisError) -> Judgement {
    match error.code() {
        None => Judgement::Gone(failure(error)),
        Some("NOPERM") => Judgement::Alive(
            Outcome::degraded(Reason::Rejected)
                .message("the server answers, and its ACL forbids this user to PING"),
        ),
        Some(_) => Judgement::Down(failure(error)),
    }
}

/// The failure with its reason and a sentence of our own.
pub(super) fn failure(error: RedisError) -> Failure {
    let reason = reason(&error);
    let failure = match error.code() {
        Some(code) => Failure::new(reason).message(format!("the server answers {}", word(code))),
        None if reason == Reason::Timeout => {
            Failure::new(reason).message("the server does not answer")
        }
        None => Failure::new(reason),
    };
    failure.caused_by(error)
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
        // What `native-tls` says; of itself the driver refuses no more than an empty command.
        ErrorKind::Client => Reason::Tls,
        _ => error
            .source()
            .and_then(in_chain)
            .and_then(|io| match io.kind() {
                // What `rustls` says. Bytes that are no Redis are `Parse`.
                io::ErrorKind::InvalidData => Some(Reason::Tls),
                _ => reason_of_io(io),
            })
            .unwrap_or(Reason::Failed),
    }
}

/// The `io` error, also one that the driver keeps behind a shared pointer.
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

/// `code` if it looks like one: what a peer that is no Redis sends is not repeated.
fn word(code: &str) -> &str {
    let fits = code.len() <= 16 && code.bytes().all(|byte| byte.is_ascii_uppercase());
    if fits { code } else { "an error" }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::{Reason, RedisError, reason, reason_of_code, word};

    #[test]
    fn an_io_error_is_found_where_the_driver_keeps_it() {
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
    fn what_is_no_code_is_not_repeated() {
        assert_eq!(word("LOADING"), "LOADING");
        assert_eq!(word("password=x"), "an error");
    }
}

//! The meaning of the driver's errors: by SQLSTATE, and by the kind of `io` error.

use std::{error::Error as _, io};

use tokio_postgres::{
    Error,
    error::{DbError, Severity, SqlState},
};

use crate::{
    checks::{
        driver_error::{DriverError, connect_timed_out, driver_error, unknown_error},
        pool::PingError,
    },
    report::{Failure, Reason, reason_of_connect},
};

/// Returns why no connection can be opened.
pub(super) fn connect_failure<E: 'static>(error: E) -> Failure {
    match driver_error::<Error, E>(error) {
        DriverError::Driver(error) => failure(error),
        DriverError::TimedOut => connect_timed_out(),
        DriverError::Other(error) => unknown_error(error),
    }
}

/// Returns what an error on an open connection means.
pub(super) fn ping_error(error: Error) -> PingError {
    if is_of_connection(&error) {
        PingError::Broken(failure(error))
    } else {
        PingError::CannotServe(failure(error))
    }
}

/// Whether the error says nothing about other connections.
pub(super) fn is_of_connection(error: &Error) -> bool {
    // A fatal error ends this connection, whatever its code. Only 57P03 applies to all connections.
    let is_fatal = || {
        let severity = error.as_db_error().and_then(DbError::parsed_severity);
        matches!(severity, Some(Severity::Fatal | Severity::Panic))
    };
    match error.code() {
        Some(code) if *code == SqlState::CANNOT_CONNECT_NOW => false,
        Some(code) => code.code().starts_with("57P") || is_fatal(),
        None => true,
    }
}

/// Returns the failure with its reason and a message.
pub(super) fn failure(error: Error) -> Failure {
    let reason = reason(&error);
    let failure = match error.code() {
        Some(code) => Failure::new(reason).message(match name(code.code()) {
            Some(name) => format!("the server answers {} {name}", code.code()),
            None => format!("the server answers {}", code.code()),
        }),
        None => Failure::new(reason),
    };
    failure.caused_by(error)
}

/// Returns the meaning of common codes, and the action where it differs from that of the reason.
fn name(code: &str) -> Option<&'static str> {
    Some(match code {
        "53300" => "too many connections: raise max_connections or shrink the pools",
        "53200" => "out of memory: check the server's memory",
        "53100" => "disk full: free disk space on the server",
        "53400" => "configuration limit exceeded",
        "28P01" => "wrong password",
        "28000" => "no pg_hba entry for this user, host and encryption",
        "3D000" => "the database does not exist",
        "57P01" => "terminated by an administrator",
        "57P02" => "crash of another server process",
        "57P03" => "starting up, shutting down or recovering",
        "57014" => "query canceled: statement_timeout",
        "08P01" => {
            "protocol violation: a pooler in front cannot reach the server, or the port is wrong"
        }
        "25006" => "read-only transaction",
        "42501" => "insufficient privilege",
        "42P01" => "undefined table",
        "42883" => "undefined function",
        _ => return None,
    })
}

fn reason(error: &Error) -> Reason {
    if let Some(code) = error.code() {
        return reason_of_code(code.code());
    }
    if error.is_closed() {
        return Reason::Reset;
    }
    // The driver hides the kind of its errors. Its phrases are fixed and hold no other text.
    let phrase = error.to_string();
    // Before the source: some connectors return `io` errors for everything.
    if phrase == "error performing TLS handshake" {
        return Reason::Tls;
    }
    let source = error.source();
    if let Some(io) = source.and_then(|source| source.downcast_ref::<io::Error>()) {
        return reason_of_connect(io).unwrap_or(match io.kind() {
            // `target_session_attrs`: the driver found no server of the required kind.
            io::ErrorKind::PermissionDenied if io.raw_os_error().is_none() => {
                reason_of_session_attrs(io)
            }
            io::ErrorKind::PermissionDenied => Reason::Auth,
            // Bytes that are not a message: the server is not Postgres.
            _ if io.raw_os_error().is_none() => Reason::Protocol,
            _ => Reason::Failed,
        });
    }
    match phrase.as_str() {
        "authentication error" => Reason::Auth,
        "unexpected message from server" | "error parsing response from server" => Reason::Protocol,
        "timeout waiting for server" => Reason::Timeout,
        // The only such error that a server can cause: it requires a password and none is set.
        "invalid configuration" => match source.map(ToString::to_string).as_deref() {
            Some("password missing") => Reason::Auth,
            _ => Reason::Misconfigured,
        },
        _ => Reason::Failed,
    }
}

/// Reads the driver's text: "database does not allow writes" or "database is not read only".
fn reason_of_session_attrs(error: &io::Error) -> Reason {
    if error.to_string().contains("not read only") {
        Reason::Mismatch
    } else {
        Reason::ReadOnly
    }
}

/// Returns the reason by code or by class, as in appendix A of the Postgres manual.
fn reason_of_code(code: &str) -> Reason {
    match code {
        "57P03" | "57P01" | "57P02" => Reason::Loading,
        "57P04" | "3D000" | "3F000" | "42P01" | "42703" | "42883" => Reason::NotFound,
        "57014" => Reason::Timeout,
        "25006" => Reason::ReadOnly,
        "42501" => Reason::Rejected,
        _ => match code.get(..2) {
            Some("28") => Reason::Auth,
            Some("53") => Reason::Exhausted,
            // Postgres itself sends this class for a protocol violation of the client, which the driver
            // does not commit. A proxy sends it if it cannot reach the server.
            Some("08") => Reason::Unreachable,
            Some("40" | "55") => Reason::Busy,
            Some("58" | "F0" | "XX") => Reason::Failed,
            _ => Reason::Rejected,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{Reason, reason_of_code};

    #[test]
    fn each_code_has_its_reason() {
        for (code, reason) in [
            ("28P01", Reason::Auth),
            ("28000", Reason::Auth),
            ("3D000", Reason::NotFound),
            ("53300", Reason::Exhausted),
            ("57P03", Reason::Loading),
            ("57014", Reason::Timeout),
            ("25006", Reason::ReadOnly),
            ("42501", Reason::Rejected),
            ("42601", Reason::Rejected),
            ("08P01", Reason::Unreachable),
            ("XX000", Reason::Failed),
            ("", Reason::Rejected),
        ] {
            assert_eq!(reason_of_code(code), reason, "{code}");
        }
    }
}

//! The meaning of the driver's errors: by SQLSTATE, and by the kind of `io` error.

use std::{error::Error as _, io};

use tokio_postgres::{
    Error,
    error::{DbError, Severity, SqlState},
};

use crate::{
    checks::pool::{PingError, code_is_of_connection, failure_of_code},
    report::{Failure, Reason, reason_of_connect},
};

/// Its reason by SQLSTATE, or by the kind of `io` error.
impl From<Error> for PingError {
    fn from(error: Error) -> Self {
        if is_of_connection(&error) {
            Self::Broken(failure(error))
        } else {
            Self::CannotServe(failure(error))
        }
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
        Some(code) => code_is_of_connection(code.code()) || is_fatal(),
        None => true,
    }
}

/// Returns the failure with its reason and a message.
pub(super) fn failure(error: Error) -> Failure {
    let failure = match error.code() {
        Some(code) => failure_of_code(code.code()),
        None => reason(&error).into(),
    };
    failure.caused_by(error)
}

/// Returns the reason of an error without a code.
fn reason(error: &Error) -> Reason {
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
                // "database does not allow writes" or "database is not read only".
                match io.to_string().contains("not read only") {
                    true => Reason::Mismatch,
                    false => Reason::ReadOnly,
                }
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

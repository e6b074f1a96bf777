//! What the codes of Postgres mean, with any driver.

use crate::report::{Failure, Reason};

/// Whether the code ends one connection and proves nothing about the server.
pub(in crate::checks) fn is_of_connection(code: &str) -> bool {
    code.starts_with("57P") && code != "57P03"
}

/// The failure for a code that the server sent, with its reason and a message.
pub(in crate::checks) fn failure_of_code(code: &str) -> Failure {
    let (reason, name) = meaning(code);
    let is_code = code.len() == 5 && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    Failure::new(reason).message(match (name, is_code) {
        ("", true) => format!("the server answers {code}"),
        // From a peer that is not a Postgres server, too: then it is not repeated.
        ("", false) => "the server answers an error".to_owned(),
        _ => format!("the server answers {code} {name}"),
    })
}

/// The reason by code, or by class, as in appendix A of the Postgres manual.
///
/// With the name of codes that operators meet, and what to do where that differs by code.
fn meaning(code: &str) -> (Reason, &'static str) {
    use Reason::{
        Auth, Busy, Exhausted, Failed, Loading, NotFound, ReadOnly, Rejected, Timeout, Unreachable,
    };
    match code {
        "08P01" => (
            Unreachable,
            "protocol violation: a pooler in front cannot reach the server, or the port is wrong",
        ),
        "25006" => (ReadOnly, "read-only transaction"),
        "28000" => (Auth, "no pg_hba entry for this user, host and encryption"),
        "28P01" => (Auth, "wrong password"),
        "3D000" => (NotFound, "the database does not exist"),
        "42501" => (Rejected, "insufficient privilege"),
        "42883" => (NotFound, "undefined function"),
        "42P01" => (NotFound, "undefined table"),
        "53100" => (Exhausted, "disk full: free disk space on the server"),
        "53200" => (Exhausted, "out of memory: check the server's memory"),
        "53300" => (
            Exhausted,
            "too many connections: raise max_connections or shrink the pools",
        ),
        "53400" => (Exhausted, "configuration limit exceeded"),
        "57014" => (Timeout, "query canceled: statement_timeout"),
        "57P01" => (Loading, "terminated by an administrator"),
        "57P02" => (Loading, "crash of another server process"),
        "57P03" => (Loading, "starting up, shutting down or recovering"),
        "3F000" | "42703" | "57P04" => (NotFound, ""),
        _ => match code.get(..2) {
            // Postgres sends it to a client that breaks the protocol, which the driver does not.
            // A proxy sends it when it cannot reach the server.
            Some("08") => (Unreachable, ""),
            Some("28") => (Auth, ""),
            Some("40" | "55") => (Busy, ""),
            Some("53") => (Exhausted, ""),
            Some("58" | "F0" | "XX") => (Failed, ""),
            _ => (Rejected, ""),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{Reason, failure_of_code};

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
            assert_eq!(failure_of_code(code).reason(), reason, "{code}");
        }
    }

    #[test]
    fn text_that_is_not_a_code_is_not_repeated() {
        for (code, message) in [
            (
                "53400",
                "the server answers 53400 configuration limit exceeded",
            ),
            ("XX000", "the server answers XX000"),
            ("password=x", "the server answers an error"),
        ] {
            let failure = failure_of_code(code);
            assert_eq!(failure.message_text().map(|text| &**text), Some(message));
        }
    }
}

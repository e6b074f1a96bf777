//! What the codes of Postgres mean, with any driver.

use crate::report::Reason;

/// The reason by code, or by class, as in appendix A of the Postgres manual.
pub(in crate::checks) fn reason_of_code(code: &str) -> Reason {
    match code {
        "57P03" | "57P01" | "57P02" => Reason::Loading,
        "57P04" | "3D000" | "3F000" | "42P01" | "42703" | "42883" => Reason::NotFound,
        "57014" => Reason::Timeout,
        "25006" => Reason::ReadOnly,
        "42501" => Reason::Rejected,
        _ => match code.get(..2) {
            Some("28") => Reason::Auth,
            Some("53") => Reason::Exhausted,
            // Postgres sends it to a client that breaks the protocol, which the driver does not.
            // A proxy sends it when it cannot reach the server.
            Some("08") => Reason::Unreachable,
            Some("40" | "55") => Reason::Busy,
            Some("58" | "F0" | "XX") => Reason::Failed,
            _ => Reason::Rejected,
        },
    }
}

/// Whether the code ends one connection and proves nothing about the server.
pub(in crate::checks) fn is_of_connection(code: &str) -> bool {
    code.starts_with("57P") && code != "57P03"
}

/// The message for a code that the server sent.
pub(in crate::checks) fn describe(code: &str) -> String {
    match name(code) {
        Some(name) => format!("the server answers {code} {name}"),
        // From a peer that is not a Postgres server, too: then it is not repeated.
        None if is_code(code) => format!("the server answers {code}"),
        None => "the server answers an error".to_owned(),
    }
}

fn is_code(code: &str) -> bool {
    code.len() == 5 && code.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The meaning of the codes that operators meet, and what to do where that differs by code.
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

#[cfg(test)]
mod tests {
    use super::{Reason, describe, reason_of_code};

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

    #[test]
    fn text_that_is_not_a_code_is_not_repeated() {
        assert_eq!(describe("XX000"), "the server answers XX000");
        assert_eq!(describe("password=x"), "the server answers an error");
    }
}

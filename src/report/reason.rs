use std::fmt;

use serde::{Serialize, Serializer};

macro_rules! reasons {
    ($($variant:ident = $name:literal $meaning:literal $action:literal,)+) => {
        /// The reason why a status is not up: a closed set, safe in a response.
        ///
        /// Responses never contain raw error text. Each variant is documented by its
        /// [`meaning`](Self::meaning), then by the operator's [`action`](Self::action).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $(
                #[doc = $meaning]
                #[doc = ""]
                #[doc = $action]
                $variant,
            )+
        }

        impl Reason {
            /// All reasons, in the order of their definition.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Returns the name in responses, logs and metrics, such as `pool_stuck`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// Returns the meaning, one sentence. Backquotes mark the names of settings.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => $meaning,)+
                }
            }

            /// Returns what the operator should do, one sentence. Backquotes mark the names of settings.
            pub const fn action(self) -> &'static str {
                match self {
                    $(Self::$variant => $action,)+
                }
            }
        }
    };
}

// Name, meaning and action. The rows of `src/guide/operators.md` repeat them.
reasons! {
    Refused = "refused"
        "The address refuses connections: no server listens there, or a firewall rejects them."
        "Check the server and the firewall; if the dependency was never up, check host and port, too.",
    Reset = "reset"
        "The server closed the connection, or accepts no more connections."
        "Check the server's log and its connection limit, and any proxy in between.",
    Unreachable = "unreachable"
        "The network, or a proxy in front of the server, reports that the server cannot be reached."
        "Check routes, firewalls and network policies; if a proxy is in between, check its connection to the server.",
    Dns = "dns"
        "The host name does not resolve."
        "Check the name and the DNS resolver.",
    Tls = "tls"
        "The TLS handshake failed, or one side does not use TLS."
        "Check the certificates, and the TLS setting of both sides (`sslmode`, `rediss://`).",
    Auth = "auth"
        "The server refused the credentials, or its access rules deny the login."
        "Check user and password, then the server's access rules (`pg_hba.conf`, Redis ACL).",
    Protocol = "protocol"
        "The answer is not in the expected protocol."
        "Check that host and port belong to this kind of server.",
    Timeout = "timeout"
        "No answer came in time."
        "Check whether the server or the network hangs; if the check only needs longer, raise its `timeout`.",
    Saturated = "saturated"
        "All connections of the app's pool are in use, and the server is reachable."
        "Find the requests that hold connections for long, or enlarge the pool.",
    PoolStuck = "pool_stuck"
        "The server is reachable, but the connections of the app's pool do not answer."
        "If it lasts, restart the app; to prevent it, test connections at checkout, set `tcp_user_timeout` or use `repair_pool`.",
    ReadOnly = "read_only"
        "The server accepts no writes, and the check needs them."
        "Check whether a failover left a replica at this address, and whether the server's memory or disk is full.",
    Loading = "loading"
        "The server is starting, recovering or shutting down."
        "Wait while it starts or recovers; if it was shut down, start it again.",
    Busy = "busy"
        "The server rejects commands while another script, query or transaction runs."
        "Find what runs, and stop it if it does not end.",
    Misconfigured = "misconfigured"
        "The server cannot save to its disk, or a setting of the server or of the app's driver is wrong."
        "Check the server's disk; if it has space, correct the setting that the cause in the app's log names.",
    NoPrimary = "no_primary"
        "A replica has lost the connection to its primary."
        "Check the primary, and the network between primary and replica.",
    Behind = "behind"
        "A replica lags further behind than its limit, or a queue is longer than its limit."
        "Check the replica's load and its connection to the primary, or the consumers of the queue.",
    Slow = "slow"
        "The dependency works, but answers more slowly than `slow_after` allows."
        "Check the server's load, slow queries and the network.",
    Exhausted = "exhausted"
        "The server's connection slots, memory or disk space are used up; the message says which."
        "For slots, shrink the pools or raise the limit; for memory or disk space, free some or add some.",
    NotFound = "not_found"
        "The database, or another object that the check needs, does not exist."
        "Create it, or correct its name.",
    Rejected = "rejected"
        "The server answers, but rejected the check's command."
        "Permit the command for the app's user, or let the check use another command.",
    Mismatch = "mismatch"
        "The answer differs from the expected one."
        "Compare the expected value with the server's answer.",
    Panicked = "panicked"
        "The check panicked."
        "Fix the check; by default, Rust prints the panic message to standard error.",
    Stuck = "stuck"
        "A run exceeded its timeout and cannot be cancelled."
        "Find the code in the check that blocks its thread.",
    Stale = "stale"
        "The background refresh is overdue, so the last result no longer counts."
        "Check whether the app's runtime is blocked.",
    RuntimeLag = "runtime_lag"
        "The app's async runtime runs its tasks late."
        "Find the code that blocks its threads, or give the app more CPU time.",
    Pending = "pending"
        "No run has ended yet, or the current one takes longer than callers may wait."
        "Probe again; if it lasts, check whether the dependency hangs.",
    Failed = "failed"
        "The check failed for a cause that no other reason fits."
        "Read the message, and the cause in the app's log.",
    Starting = "starting"
        "The app has not finished starting."
        "Wait; if it lasts, check the dependencies that are not up.",
    Draining = "draining"
        "The app is shutting down and takes no new traffic."
        "Nothing to do: this is expected during a deployment.",
    Maintenance = "maintenance"
        "An operator removed the instance from rotation."
        "Nothing to do: this is deliberate, and lasts until the operator ends it.",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::Reason;

    #[test]
    fn names_are_distinct_metric_labels() {
        let names: HashSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        assert!(names.iter().all(|name| name.bytes().all(is_plain)));
    }

    #[test]
    fn meanings_and_actions_are_sentences() {
        for &reason in Reason::ALL {
            for text in [reason.meaning(), reason.action()] {
                assert!(text.starts_with(char::is_uppercase), "{reason}: {text}");
                assert!(
                    text.ends_with('.') && !text.contains(". "),
                    "{reason}: {text}"
                );
                assert_eq!(text.matches('`').count() % 2, 0, "{reason}: {text}");
            }
        }
    }
}

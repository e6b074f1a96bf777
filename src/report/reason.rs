use std::fmt;

use serde::{Serialize, Serializer};

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $word:literal,)+) => {
        /// The reason why a status is not up: a closed vocabulary, safe in a response.
        ///
        /// Responses never contain raw error text. The first sentence of a variant is its
        /// [`meaning`](Self::meaning), the second the operator's [`action`](Self::action).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Reason {
            /// All reasons, in the order of their definition.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word used in responses, logs and metrics.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }

            /// Its own documentation: the status page and the guide need one source.
            const fn guide(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($doc),+).trim_ascii(),)+
                }
            }
        }
    };
}

// Each `meaning. action.`: `Reason::meaning` and `Reason::action` are cut from it.
reasons! {
    /// The address refuses connections: no server listens there, or a firewall rejects them. Check whether the server runs; if it never worked, correct host and port.
    Refused = "refused",
    /// The server closed the connection, or accepts no more connections. Check its log and its connection limit.
    Reset = "reset",
    /// The network, or a proxy in front of the server, reports that the server cannot be reached. Check routes, firewalls and network policies, and the proxy's log if there is one.
    Unreachable = "unreachable",
    /// The host name does not resolve. Check the name and the DNS resolver.
    Dns = "dns",
    /// The TLS handshake failed, or one side does not use TLS. Check the certificates and `sslmode`.
    Tls = "tls",
    /// The server refused the credentials, or its access rules deny the login. Check user, password, ACL and `pg_hba.conf`.
    Auth = "auth",
    /// The answer is not in the expected protocol. Check that host and port belong to this kind of server.
    Protocol = "protocol",
    /// No answer came in time. Check whether the server or the network hangs, and whether `timeout` is long enough for the query.
    Timeout = "timeout",
    /// All connections of the app's pool are in use, and the server is reachable. Find the requests that hold connections for long, or enlarge the pool.
    Saturated = "saturated",
    /// The server is reachable, but the connections of the app's pool do not answer. Test at checkout, set `tcp_user_timeout` and keepalives, or use `repair_pool`; restart the app if it lasts.
    PoolStuck = "pool_stuck",
    /// The server accepts no writes, and the check needs them. Look for a failover, a replica in the primary's place, or a full disk.
    ReadOnly = "read_only",
    /// The server is starting, recovering or shutting down. Wait while it starts or recovers; if it was shut down, start it again.
    Loading = "loading",
    /// The server runs something long, and answers other commands only by saying so. Find the script or query, and stop it if it does not end.
    Busy = "busy",
    /// The server, or its client in the app, refuses to work: often the server's disk is full, else a setting is wrong. Check the disk first; the cause in the log names the setting.
    Misconfigured = "misconfigured",
    /// A replica has lost the connection to its primary. Check the primary and the replication link.
    NoPrimary = "no_primary",
    /// A replica lags further behind than its limit, or a queue is longer than its limit. Check the replication link, or the consumers of the queue.
    Behind = "behind",
    /// The dependency works, but answers more slowly than `slow_after` allows. Check the server's load, slow queries and the network.
    Slow = "slow",
    /// The server has no free connection slot, memory or disk space; the cause in the log says which. Slots: shrink the pools or raise the limit; memory or disk: free some or add some.
    Exhausted = "exhausted",
    /// The database, or another object that the check needs, does not exist. Create it, or correct its name.
    NotFound = "not_found",
    /// The server answers, but rejected the check's command. Permit the command for the app's user, or use another one.
    Rejected = "rejected",
    /// The answer differs from the expected one. Compare the expected value with the server's answer.
    Mismatch = "mismatch",
    /// The check panicked. Fix the check: the panic's message is on standard error.
    Panicked = "panicked",
    /// A run passed its deadline and cannot be cancelled. Find the code in the check that blocks its thread.
    Stuck = "stuck",
    /// The background refresh is overdue, so the last result no longer counts. Check whether the app's runtime is blocked.
    Stale = "stale",
    /// The app's async runtime runs its tasks late. Find the code that blocks its threads, or give the app more CPU time.
    RuntimeLag = "runtime_lag",
    /// No run has ended yet, or the current one takes longer than callers may wait. Ask again; if it lasts, check whether the dependency hangs.
    Pending = "pending",
    /// The check failed for a cause that no other reason fits. See the cause in the log.
    Failed = "failed",
    /// The app has not finished starting. Wait; if it lasts, check the dependencies that are not up.
    Starting = "starting",
    /// The app is shutting down and takes no new traffic. Nothing to do: this is expected during a deployment.
    Draining = "draining",
    /// An operator took the instance out of rotation. Nothing to do: the message says why.
    Maintenance = "maintenance",
}

impl Reason {
    /// Returns the meaning, one sentence. Names of settings stand between backquotes.
    pub fn meaning(self) -> &'static str {
        self.halves().0
    }

    /// Returns what the operator should do, one sentence. Names of settings stand between backquotes.
    pub fn action(self) -> &'static str {
        self.halves().1
    }

    fn halves(self) -> (&'static str, &'static str) {
        let text = self.guide();
        let end = text.find(". ").map_or(text.len(), |dot| dot + 1);
        (&text[..end], text[end..].trim_start())
    }
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
    fn words_are_distinct_metric_labels() {
        let words: HashSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(words.len(), Reason::ALL.len());
        for word in words {
            assert!(
                word.bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
            );
        }
    }

    #[test]
    fn every_reason_has_a_meaning_and_an_action() {
        for &reason in Reason::ALL {
            for half in [reason.meaning(), reason.action()] {
                assert!(half.starts_with(char::is_uppercase), "{reason}: {half}");
                assert!(half.ends_with('.') && half.len() > 4, "{reason}: {half}");
                assert_eq!(half.matches('`').count() % 2, 0, "{reason}: {half}");
            }
        }
        assert_eq!(Reason::Dns.meaning(), "The host name does not resolve.");
        assert_eq!(Reason::Dns.action(), "Check the name and the DNS resolver.");
    }
}

use std::fmt;

use serde::{Serialize, Serializer};

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $word:literal,)+) => {
        /// Why something is not simply up: a closed vocabulary, safe in a response.
        ///
        /// Raw error text never stands in an answer; one of these words does. Each
        /// variant says what it means and what the operator should do, as
        /// [`meaning`](Self::meaning) and [`action`](Self::action) say to programs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Reason {
            /// Every reason there is, in the order of their definition.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word used in answers, logs and metrics.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }

            /// Its own documentation: a page and a manual that say the same need one source.
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
    /// Nothing listens at the address. Start the server, or correct the port.
    Refused = "refused",
    /// The server closed the connection, or has no place for one more. Look at its log and its connection limit.
    Reset = "reset",
    /// No route to the address, or a proxy in front of the server cannot reach it. Look at the network, its policies and firewalls.
    Unreachable = "unreachable",
    /// The host's name does not resolve. Correct the name, or look at the resolver.
    Dns = "dns",
    /// The TLS handshake failed, or one side does not speak TLS. Look at certificates and `sslmode`.
    Tls = "tls",
    /// Credentials or access rules were refused. Look at user, password, ACL and `pg_hba.conf`.
    Auth = "auth",
    /// The peer does not speak the protocol. Correct the port.
    Protocol = "protocol",
    /// No answer in time. Look for a frozen server, a silent network, or a `timeout` too short for the query.
    Timeout = "timeout",
    /// Every connection of the app's own pool is checked out while the server is fine. Enlarge the pool, or find who holds them.
    Saturated = "saturated",
    /// The server is fine, and the connections that the app's pool holds do not answer. Restart the app if it lasts, and build the pool with `GuardedManager`.
    PoolStuck = "pool_stuck",
    /// A write was asked for and the server takes none. Look for a failover or a full disk.
    ReadOnly = "read_only",
    /// The server is starting, stopping or recovering. Wait; look at it if it lasts.
    Loading = "loading",
    /// The server answers nobody while it runs something long. Find the script or the query.
    Busy = "busy",
    /// The server, or its client here, refuses to work in its present set-up. The log says which setting.
    Misconfigured = "misconfigured",
    /// A replica has lost its master. Look at the replication link.
    NoPrimary = "no_primary",
    /// A replica is further behind than it may be, or a queue is longer. Look at what should work it off.
    Behind = "behind",
    /// The server works, and answers more slowly than `slow_after` allows. Look at its load, or at slow queries.
    Slow = "slow",
    /// The server is out of connection slots, memory or disk. Raise its limit, or shrink the pools.
    Exhausted = "exhausted",
    /// The database, or whatever was asked for, does not exist. Create it, or correct the name.
    NotFound = "not_found",
    /// The server refused the check's command while being alive. Permit the command, or use another.
    Rejected = "rejected",
    /// The answer is not the expected one. Compare the expectation with what the server says.
    Mismatch = "mismatch",
    /// The check itself panicked. A bug in the check: its backtrace is in the log.
    Panicked = "panicked",
    /// A run past its deadline could not be cancelled and still holds its place. A check blocks its thread.
    Stuck = "stuck",
    /// The verdict is too old to count: nothing refreshed it. Look whether the runtime is wedged.
    Stale = "stale",
    /// The app's async runtime runs its tasks late. Look for code that blocks one of its threads, or for a starved CPU.
    RuntimeLag = "runtime_lag",
    /// The first run has not ended yet. Ask again.
    Pending = "pending",
    /// Anything that no other word fits. The log has the text.
    Failed = "failed",
    /// The app has not finished starting. Wait.
    Starting = "starting",
    /// The app is shutting down and wants no new traffic. Expected during a deploy.
    Draining = "draining",
    /// Somebody took the instance out of traffic by hand. Expected; the message says what for.
    Maintenance = "maintenance",
}

impl Reason {
    /// What it means, in one plain sentence. Names of settings stand between backquotes.
    pub fn meaning(self) -> &'static str {
        self.halves().0
    }

    /// What the operator should do about it. Names of settings stand between backquotes.
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
    fn every_word_is_distinct_and_fit_for_a_metric_label() {
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
    fn every_reason_says_what_it_means_and_what_to_do() {
        for &reason in Reason::ALL {
            for half in [reason.meaning(), reason.action()] {
                assert!(half.starts_with(char::is_uppercase), "{reason}: {half}");
                assert!(half.ends_with('.') && half.len() > 4, "{reason}: {half}");
                assert_eq!(half.matches('`').count() % 2, 0, "{reason}: {half}");
            }
        }
        assert_eq!(Reason::Refused.meaning(), "Nothing listens at the address.");
        assert_eq!(
            Reason::Refused.action(),
            "Start the server, or correct the port."
        );
    }
}

use std::fmt;

use serde::{Serialize, Serializer};

macro_rules! reasons {
    // The two lines of documentation are data as well, so that what an operator reads cannot drift from them.
    ($(#[doc = $meaning:literal] #[doc = $advice:literal] $variant:ident = $word:literal,)+) => {
        /// Why something is not simply up: a closed vocabulary, safe in a response.
        ///
        /// Raw error text never stands in an answer; one of these words does. Each
        /// variant says what it means, and then what the operator should do:
        /// [`meaning`](Self::meaning) and [`advice`](Self::advice).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $(#[doc = $meaning] #[doc = $advice] $variant,)+
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

            /// What it means, as one English sentence for whoever is on call.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => $meaning.trim_ascii(),)+
                }
            }

            /// What to do about it, as one English sentence.
            pub const fn advice(self) -> &'static str {
                match self {
                    $(Self::$variant => $advice.trim_ascii(),)+
                }
            }
        }
    };
}

reasons! {
    /// Nothing listens at the server's address.
    /// Start the server, or correct host and port.
    Refused = "refused",
    /// The server closed the connection, or has no place for one more.
    /// Look at its log and at its connection limit.
    Reset = "reset",
    /// There is no route to the server, or a proxy in front of it cannot reach it.
    /// Look at the network, its policies and firewalls, and at the proxy's own health.
    Unreachable = "unreachable",
    /// The server's name does not resolve.
    /// Correct the host name, or look at the resolver.
    Dns = "dns",
    /// The TLS handshake failed, or one side does not speak TLS.
    /// Look at both certificates and their dates, and at `sslmode` or the `rediss://` scheme.
    Tls = "tls",
    /// The server refused the credentials, or its access rules refuse this client.
    /// Look at user, password, ACL and `pg_hba.conf`; was a secret rotated?
    Auth = "auth",
    /// Whatever answers at the address speaks another protocol.
    /// Correct the port.
    Protocol = "protocol",
    /// The server did not answer in time: it is frozen or overloaded, or the network swallows packets.
    /// Look at the server first; raise the check's `timeout` only when its query is slow by design.
    Timeout = "timeout",
    /// The server is fine, and all connections of the app's own pool are checked out.
    /// Find who holds them (slow queries, a leak), or enlarge the pool.
    Saturated = "saturated",
    /// The server is fine, and the connections that the app's pool holds do not answer.
    /// Restart the app if it lasts, and build the pool with `GuardedManager`.
    PoolStuck = "pool_stuck",
    /// A write was asked for and the server takes none.
    /// Look for a failover that the app has not followed, or a full disk.
    ReadOnly = "read_only",
    /// The server is starting, stopping or recovering.
    /// Wait; look at its log if that lasts for minutes.
    Loading = "loading",
    /// The server answers nobody while it runs something long.
    /// Find the script or the query, and end it.
    Busy = "busy",
    /// The server, or its client in this app, refuses to work in its present set-up.
    /// The app's log says which setting.
    Misconfigured = "misconfigured",
    /// A replica has lost its master.
    /// Look at the replication link and at the master.
    NoMaster = "no_master",
    /// A replica is further behind than it may be, or a queue is longer.
    /// Look at what should work it off.
    Behind = "behind",
    /// The server is out of connection slots, memory or disk.
    /// Raise its limit, or shrink the pools of its clients.
    Exhausted = "exhausted",
    /// The database, or whatever was asked for, does not exist.
    /// Create it, or correct the name.
    NotFound = "not_found",
    /// The server is alive and refused the check's command.
    /// Permit the command, or give the check another one.
    Rejected = "rejected",
    /// The answer is not the expected one.
    /// Compare the expectation with what the server says.
    Mismatch = "mismatch",
    /// The check itself panicked: a bug in the check.
    /// Its message and place are in the app's log.
    Panicked = "panicked",
    /// A run past its deadline could not be cancelled and still holds its place.
    /// The check blocks its thread: make it asynchronous, or move it to `spawn_blocking`.
    Stuck = "stuck",
    /// The verdict is too old to count: nothing refreshed it.
    /// Look whether the app's runtime is wedged; restart it if so.
    Stale = "stale",
    /// The app's async runtime runs its tasks late.
    /// Look for code that blocks one of its threads, or for a starved CPU.
    Lagging = "lagging",
    /// The first run has not ended yet.
    /// Ask again in a second.
    Pending = "pending",
    /// The check failed in a way that no other word fits.
    /// The app's log has the text.
    Failed = "failed",
    /// The app has not finished starting: not all required dependencies were up yet.
    /// Wait; `/health` says to those allowed details which one is missing.
    Starting = "starting",
    /// The app is shutting down and wants no new traffic.
    /// Nothing: it is expected during a deploy.
    Draining = "draining",
    /// Somebody took the instance out of traffic by hand.
    /// Nothing: the message says what for. Put it back when the work is done.
    Maintenance = "maintenance",
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
    fn every_reason_says_in_sentences_what_it_means_and_what_to_do() {
        let mut sentences = HashSet::new();
        for reason in Reason::ALL {
            for sentence in [reason.meaning(), reason.advice()] {
                let is_sentence = sentence.starts_with(|first: char| !first.is_whitespace())
                    && sentence.ends_with(['.', '?'])
                    && (10..=100).contains(&sentence.len());
                assert!(is_sentence, "{reason}: {sentence:?}");
                assert!(sentences.insert(sentence), "{reason}: said of another one");
            }
        }
    }
}

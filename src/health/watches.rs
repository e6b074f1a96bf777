//! The open gRPC watches of a handle: counts and limits, and the channels of the watched names.

use std::{
    collections::HashMap,
    iter, mem,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch::Sender, task::AbortHandle, time::Instant};

use super::grpc_settings::WatchLimits;
use crate::report::Status;

/// The most open watches of one handle.
const MAX_WATCHES: usize = 10_000;

/// The part of each limit that watches of unknown names may use: a tenth.
const UNKNOWN_PART: usize = 10;

/// How long a watch stays open that is opened after the others ended: its client would retry at once.
const LATE_WATCH: Duration = Duration::from_secs(1);

/// All watches of a handle.
#[derive(Debug, Default)]
pub(super) struct Watches(Mutex<WatchTable>);

#[derive(Debug, Default)]
pub(super) struct WatchTable {
    pub(super) open: OpenWatches,
    pub(super) names: HashMap<WatchKey, Arc<WatchedName>>,
    pub(super) driver: Option<AbortHandle>,
}

impl Watches {
    pub(super) fn table(&self) -> MutexGuard<'_, WatchTable> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A watched name, for callers with or without details.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct WatchKey {
    pub(super) name: Box<str>,
    pub(super) sees_details: bool,
}

/// A status that a watch sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WatchedStatus {
    Serving,
    NotServing,
    UnknownName,
}

impl From<Status> for WatchedStatus {
    fn from(status: Status) -> Self {
        if status.is_serving() {
            Self::Serving
        } else {
            Self::NotServing
        }
    }
}

/// The error if a limit of open watches is reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TooManyWatches;

/// A name that is watched. Dropping it ends its watches, once they have sent the newest status.
#[derive(Debug)]
pub(super) struct WatchedName {
    pub(super) key: WatchKey,
    pub(super) opened_at: Instant,
    /// The newest status. `None` while the first message waits for the first result.
    pub(super) updates: Sender<Option<WatchedStatus>>,
}

impl WatchedName {
    pub(super) fn new(key: WatchKey, opened_at: Instant) -> Self {
        Self {
            key,
            opened_at,
            updates: Sender::new(None),
        }
    }

    /// Wakes each watch once, or none without a change and a status.
    pub(super) fn update(&self, status: Option<WatchedStatus>) {
        self.updates.send_if_modified(|newest| {
            let previous = mem::replace(newest, status);
            status.is_some() && previous != status
        });
    }

    pub(super) fn is_unknown(&self) -> bool {
        *self.updates.borrow() == Some(WatchedStatus::UnknownName)
    }

    /// When its watches end, if the others end at `planned`.
    pub(super) fn ends_at(&self, planned: Instant) -> Instant {
        if self.opened_at < planned {
            planned
        } else {
            self.opened_at + LATE_WATCH
        }
    }
}

/// The counts of open watches. What has no open watch has no entry.
#[derive(Debug, Default)]
pub(super) struct OpenWatches(HashMap<LimitScope, WatchCount>);

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum LimitScope {
    Handle,
    Connection(SocketAddr),
    /// An IPv6 host has a whole /64 network.
    Network(IpAddr),
}

/// The number of open watches, and of those with an unknown name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct WatchCount {
    open: usize,
    unknown: usize,
}

impl OpenWatches {
    /// Counts a new watch, if the limits allow it. Returns whether they do.
    pub(super) fn open(
        &mut self,
        limits: WatchLimits,
        peer: Option<SocketAddr>,
        is_unknown: bool,
    ) -> bool {
        let is_allowed = scopes(peer).all(|scope| {
            let limit = match scope {
                LimitScope::Handle => MAX_WATCHES,
                LimitScope::Connection(_) => limits.per_connection,
                LimitScope::Network(_) => limits.per_ip,
            };
            let count = self.0.get(&scope).copied().unwrap_or_default();
            count.open < limit && (!is_unknown || count.unknown < limit.div_ceil(UNKNOWN_PART))
        });
        if is_allowed {
            self.each(peer, |count| {
                count.open += 1;
                count.unknown += usize::from(is_unknown);
            });
        }
        is_allowed
    }

    /// Counts a watch of an unknown name as one of a known name.
    pub(super) fn becomes_known(&mut self, peer: Option<SocketAddr>) {
        self.each(peer, |count| count.unknown -= 1);
    }

    pub(super) fn close(&mut self, peer: Option<SocketAddr>, is_unknown: bool) {
        self.each(peer, |count| {
            count.open -= 1;
            count.unknown -= usize::from(is_unknown);
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn each(&mut self, peer: Option<SocketAddr>, change: impl Fn(&mut WatchCount)) {
        for scope in scopes(peer) {
            let count = self.0.entry(scope).or_default();
            change(count);
            if *count == WatchCount::default() {
                self.0.remove(&scope);
            }
        }
    }
}

fn scopes(peer: Option<SocketAddr>) -> impl Iterator<Item = LimitScope> {
    let of_peer = peer.map(|peer| {
        let network = match peer.ip().to_canonical() {
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
            ip => ip,
        };
        [LimitScope::Connection(peer), LimitScope::Network(network)]
    });
    iter::once(LimitScope::Handle).chain(of_peer.into_iter().flatten())
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::{MAX_WATCHES, OpenWatches, WatchLimits};

    fn peer(address: &str) -> Option<SocketAddr> {
        Some(address.parse().expect("an address"))
    }

    /// Opens `count` watches, and returns how many are allowed.
    fn opened(
        watches: &mut OpenWatches,
        peer: impl Fn(usize) -> Option<SocketAddr>,
        is_unknown: bool,
        count: usize,
    ) -> usize {
        let limits = WatchLimits::default();
        let opened = (0..count).filter(|number| watches.open(limits, peer(*number), is_unknown));
        opened.count()
    }

    #[test]
    fn each_limit_stops_watches_at_its_count() {
        type LimitRow = (&'static str, fn(usize) -> Option<SocketAddr>, bool, usize);
        let table: [LimitRow; 7] = [
            ("connection", |_| peer("192.0.2.1:9"), false, 100),
            ("connection, unknown", |_| peer("192.0.2.1:9"), true, 10),
            ("ip", |n| peer(&format!("192.0.2.1:{n}")), false, 1_000),
            (
                "ip, unknown",
                |n| peer(&format!("192.0.2.1:{n}")),
                true,
                100,
            ),
            (
                "ipv6 network",
                |n| peer(&format!("[2001:db8::{n:x}]:1")),
                false,
                1_000,
            ),
            ("all", |_| None, false, MAX_WATCHES),
            ("all, unknown", |_| None, true, MAX_WATCHES / 10),
        ];
        for (case, peer, is_unknown, expected) in table {
            let mut watches = OpenWatches::default();
            let found = opened(&mut watches, peer, is_unknown, MAX_WATCHES + 1);
            assert_eq!(found, expected, "{case}");
        }
    }

    #[test]
    fn unknown_names_leave_room_for_known_names() {
        let mut watches = OpenWatches::default();
        assert_eq!(opened(&mut watches, |_| None, true, MAX_WATCHES), 1_000);
        assert_eq!(opened(&mut watches, |_| None, false, MAX_WATCHES), 9_000);
    }

    #[test]
    fn closed_watches_make_room_and_leave_no_entry() {
        let mut watches = OpenWatches::default();
        let peer = peer("192.0.2.1:9");
        assert_eq!(opened(&mut watches, |_| peer, true, 20), 10);
        watches.becomes_known(peer);
        assert_eq!(opened(&mut watches, |_| peer, true, 20), 1);
        watches.close(peer, false);
        for _ in 0..10 {
            watches.close(peer, true);
        }
        assert!(watches.is_empty());
    }

    #[test]
    fn a_limit_of_zero_rejects_every_watch_of_a_peer() {
        let limits = WatchLimits {
            per_connection: 0,
            per_ip: 0,
        };
        assert!(!OpenWatches::default().open(limits, peer("192.0.2.1:9"), false));
    }
}

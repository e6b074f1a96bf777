//! The open gRPC watches of a handle: counts and limits, and the channels of the watched names.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{sync::watch::Sender, task::AbortHandle, time::Instant};

use super::grpc_settings::WatchLimits;
use crate::report::Status;

/// The most open watches of one handle.
const MAX_WATCHES: usize = 10_000;

/// The part of each limit that watches of unknown names may use: a tenth.
const UNKNOWN_PART: usize = 10;

/// All watches of a handle.
#[derive(Debug)]
pub(super) struct Watches {
    table: Mutex<WatchTable>,
    /// The channel of all watches of unknown names.
    pub(super) unknown: Sender<WatchUpdate>,
}

#[derive(Debug, Default)]
pub(super) struct WatchTable {
    pub(super) open: OpenWatches,
    pub(super) names: HashMap<WatchKey, Arc<WatchedName>>,
    pub(super) driver: Option<AbortHandle>,
}

impl Default for Watches {
    fn default() -> Self {
        Self {
            table: Mutex::default(),
            unknown: WatchUpdate::channel(Some(WatchedStatus::UnknownName)),
        }
    }
}

impl Watches {
    pub(super) fn table(&self) -> MutexGuard<'_, WatchTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the watches of unknown names if they end, or have to resolve their names again.
    pub(super) fn update_unknown(&self, ends: bool, registry_changed: bool) {
        self.unknown.send_if_modified(|update| {
            let is_change = registry_changed || update.ends != ends;
            update.ends = ends;
            is_change
        });
    }
}

/// A watched name, for callers with or without details.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct WatchKey {
    pub(super) name: Box<str>,
    pub(super) sees_details: bool,
}

/// The newest state of a name. A slow reader misses earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WatchUpdate {
    /// `None` while the first message waits for the first result.
    pub(super) status: Option<WatchedStatus>,
    /// Watches end once they have sent the status.
    pub(super) ends: bool,
}

impl WatchUpdate {
    fn channel(status: Option<WatchedStatus>) -> Sender<Self> {
        Sender::new(Self {
            status,
            ends: false,
        })
    }
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

/// A known name that is watched.
#[derive(Debug)]
pub(super) struct WatchedName {
    pub(super) key: WatchKey,
    /// An unknown status is not sent before then.
    pub(super) first_result_by: Instant,
    pub(super) updates: Sender<WatchUpdate>,
}

impl WatchedName {
    pub(super) fn new(key: WatchKey, first_result_by: Instant) -> Self {
        Self {
            key,
            first_result_by,
            updates: WatchUpdate::channel(None),
        }
    }

    /// Wakes each watch once, or none without a change.
    pub(super) fn update(&self, status: Option<WatchedStatus>, ends: bool) {
        self.updates.send_if_modified(|update| {
            let new = WatchUpdate {
                // A status that was sent stays.
                status: status.or(update.status),
                ends,
            };
            let is_change = *update != new;
            *update = new;
            is_change
        });
    }
}

/// The counts of open watches. A peer without an open watch has no entry.
#[derive(Debug, Default)]
pub(super) struct OpenWatches {
    total: WatchCount,
    connections: HashMap<SocketAddr, WatchCount>,
    ips: HashMap<IpAddr, WatchCount>,
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
        let fits = |count: Option<&WatchCount>, limit| {
            let count = count.copied().unwrap_or_default();
            count.is_below(limit, is_unknown)
        };
        let is_allowed = fits(Some(&self.total), MAX_WATCHES)
            && peer.is_none_or(|peer| {
                fits(self.connections.get(&peer), limits.per_connection)
                    && fits(self.ips.get(&network(peer)), limits.per_ip)
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
        self.total.open == 0
    }

    fn each(&mut self, peer: Option<SocketAddr>, change: impl Fn(&mut WatchCount)) {
        change(&mut self.total);
        if let Some(peer) = peer {
            update_count(&mut self.connections, peer, &change);
            update_count(&mut self.ips, network(peer), &change);
        }
    }
}

fn update_count<K: Eq + Hash>(
    counts: &mut HashMap<K, WatchCount>,
    key: K,
    change: impl Fn(&mut WatchCount),
) {
    match counts.entry(key) {
        Entry::Occupied(mut entry) => {
            change(entry.get_mut());
            if *entry.get() == WatchCount::default() {
                entry.remove();
            }
        }
        Entry::Vacant(entry) => change(entry.insert(WatchCount::default())),
    }
}

impl WatchCount {
    fn is_below(self, limit: usize, is_unknown: bool) -> bool {
        let unknown_limit = limit.div_ceil(UNKNOWN_PART);
        self.open < limit && (!is_unknown || self.unknown < unknown_limit)
    }
}

/// The address that a limit counts: an IPv6 host has a whole /64 network.
fn network(peer: SocketAddr) -> IpAddr {
    match peer.ip().to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
        ip => ip,
    }
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
        assert!(watches.connections.is_empty() && watches.ips.is_empty());
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

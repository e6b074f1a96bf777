//! How many gRPC watches may be open at a time, for each peer and in all.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

/// The most watches of one handle.
const MAX_WATCHES: usize = 10_000;

/// The part of each limit that watches of unknown names may use.
const UNKNOWN_PART: usize = 10;

#[derive(Clone, Copy, Debug)]
pub(super) struct WatchLimits {
    pub(super) per_connection: usize,
    pub(super) per_ip: usize,
}

impl Default for WatchLimits {
    fn default() -> Self {
        Self {
            per_connection: 100,
            per_ip: 1_000,
        }
    }
}

/// The counts of open watches. A peer without an open watch has no entry.
#[derive(Debug, Default)]
pub(super) struct OpenWatches {
    total: Count,
    connections: HashMap<SocketAddr, Count>,
    ips: HashMap<IpAddr, Count>,
}

/// How many watches are open, and how many of them are of an unknown name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    open: usize,
    unknown: usize,
}

impl OpenWatches {
    /// Counts one more, and returns whether the limits allow it.
    pub(super) fn open(
        &mut self,
        limits: WatchLimits,
        peer: Option<SocketAddr>,
        is_unknown: bool,
    ) -> bool {
        let fits = |count: Option<&Count>, limit| {
            let count = count.copied().unwrap_or_default();
            count.is_below(limit, is_unknown)
        };
        let allowed = fits(Some(&self.total), MAX_WATCHES)
            && peer.is_none_or(|peer| {
                fits(self.connections.get(&peer), limits.per_connection)
                    && fits(self.ips.get(&network(peer)), limits.per_ip)
            });
        if allowed {
            self.each(peer, |count| {
                count.open += 1;
                count.unknown += usize::from(is_unknown);
            });
        }
        allowed
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

    fn each(&mut self, peer: Option<SocketAddr>, change: impl Fn(&mut Count)) {
        change(&mut self.total);
        if let Some(peer) = peer {
            change_entry(&mut self.connections, peer, &change);
            change_entry(&mut self.ips, network(peer), &change);
        }
    }
}

fn change_entry<K: Eq + Hash>(counts: &mut HashMap<K, Count>, key: K, change: impl Fn(&mut Count)) {
    match counts.entry(key) {
        Entry::Occupied(mut entry) => {
            change(entry.get_mut());
            if *entry.get() == Count::default() {
                entry.remove();
            }
        }
        Entry::Vacant(entry) => change(entry.insert(Count::default())),
    }
}

impl Count {
    fn is_below(self, limit: usize, is_unknown: bool) -> bool {
        let unknown_limit = limit.div_ceil(UNKNOWN_PART);
        self.open < limit && (!is_unknown || self.unknown < unknown_limit)
    }
}

/// What counts as one address: one IPv6 host has a /64 network to itself.
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

    /// How many of `count` watches are allowed.
    fn opened(
        watches: &mut OpenWatches,
        peer: impl Fn(usize) -> Option<SocketAddr>,
        is_unknown: bool,
        count: usize,
    ) -> usize {
        let limits = WatchLimits::default();
        let each = (0..count).filter(|number| watches.open(limits, peer(*number), is_unknown));
        each.count()
    }

    #[test]
    fn each_limit_stops_watches_at_its_count() {
        type Row = (&'static str, fn(usize) -> Option<SocketAddr>, bool, usize);
        let table: [Row; 7] = [
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
    fn a_limit_of_zero_refuses_every_watch_of_a_peer() {
        let limits = WatchLimits {
            per_connection: 0,
            per_ip: 0,
        };
        assert!(!OpenWatches::default().open(limits, peer("192.0.2.1:9"), false));
    }
}

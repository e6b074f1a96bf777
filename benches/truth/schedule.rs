//! What goes wrong, and when: drawn from a seed.

use std::{fmt, time::Duration};

/// Without faults at the beginning, so that pools fill.
const CALM_START: f64 = 2.5;
/// Without faults at the end, so that recovery is seen.
const CALM_END: f64 = 8.0;
const ROUND_TRIPS: [u64; 6] = [30, 86, 180, 300, 450, 600];

/// SplitMix64.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.next() as f64 / u64::MAX as f64)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn one_of<T: Copy>(&mut self, these: &[T]) -> T {
        these[self.below(these.len())]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Postgres,
    PgBouncer,
    Redis,
}

/// One fault. Those that `cut` end the app's connections when they begin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// The round trip takes longer.
    Delay(Duration),
    /// Nothing passes for a while, and nothing is lost.
    Stalled,
    /// Nothing passes for a while; afterwards new connections work and old ones are silent.
    RouteLost,
    /// Three connections fall silent, the others are reset, and connects never end.
    ThreeSilent,
    /// All connections are reset, and new ones too; drawn twice in a row.
    Refused,
    /// All connections are reset once.
    Reset,
    /// All connections are reset, and a connect takes this long.
    SlowConnect(Duration),
    Killed,
    Frozen,
    FrozenBackends,
    FrozenPostmaster,
    /// The server ends all connections of the app.
    Terminated,
    OtherPassword {
        cut: bool,
    },
    /// The server takes no further connection.
    NoSlots {
        cut: bool,
    },
    ReadOnly,
    /// Redis loads its data.
    Loading,
    /// `CLIENT PAUSE`
    Paused,
    UserDeleted,
    /// The app's user may do anything but `PING`.
    NoPing,
    /// The harness holds every connection of each pool.
    Held,
    /// The app's threads are busy most of the time.
    Starved,
}

use Fault::{
    Delay, Frozen, FrozenBackends, FrozenPostmaster, Held, Killed, Loading, NoPing, NoSlots,
    OtherPassword, Paused, ReadOnly, Refused, Reset, RouteLost, SlowConnect, Stalled, Starved,
    Terminated, ThreeSilent, UserDeleted,
};

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Delay(trip) => write!(f, "delay {} ms", trip.as_millis()),
            SlowConnect(time) => write!(f, "slow connects {} ms", time.as_millis()),
            Stalled => f.write_str("stall"),
            RouteLost => f.write_str("route lost and back"),
            ThreeSilent => f.write_str("three silent, connects hang"),
            Refused => f.write_str("refused"),
            Reset => f.write_str("reset"),
            Killed => f.write_str("killed"),
            Frozen => f.write_str("frozen"),
            FrozenBackends => f.write_str("backends frozen"),
            FrozenPostmaster => f.write_str("postmaster frozen"),
            Terminated => f.write_str("terminated"),
            OtherPassword { cut: true } => f.write_str("other password, cut"),
            OtherPassword { cut: false } => f.write_str("other password"),
            NoSlots { cut: true } => f.write_str("no slots, cut"),
            NoSlots { cut: false } => f.write_str("no slots"),
            ReadOnly => f.write_str("read-only"),
            Loading => f.write_str("loading"),
            Paused => f.write_str("paused"),
            UserDeleted => f.write_str("user deleted"),
            NoPing => f.write_str("no PING"),
            Held => f.write_str("held"),
            Starved => f.write_str("starved"),
        }
    }
}

/// From when to when, in seconds since the start of the schedule.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub from: f64,
    pub to: f64,
    pub fault: Fault,
}

impl Window {
    pub fn is_active(&self, at: f64) -> bool {
        self.from <= at && at < self.to
    }
}

#[derive(Clone, Debug)]
pub struct Schedule {
    pub seed: u64,
    pub target: Target,
    pub pool_size: u32,
    /// The app writes, and the check asks for a server that takes writes.
    pub writes: bool,
    /// The app's requests come whether or not the pool has a connection for them, so that they queue.
    pub crowd: bool,
    pub seconds: f64,
    pub windows: Vec<Window>,
}

impl Schedule {
    pub fn draw(seed: u64, seconds: f64) -> Self {
        let mut random = Random::new(seed);
        let target = [Target::Redis, Target::Postgres, Target::PgBouncer][(seed % 3) as usize];
        let mut schedule = Self {
            seed,
            target,
            pool_size: random.one_of(&[5, 8, 10]),
            writes: random.below(3) == 0,
            crowd: random.below(3) == 0,
            seconds,
            windows: Vec::new(),
        };
        let faults = vocabulary(target, schedule.writes);
        // Each fault of the vocabulary comes first in some seed.
        let mut first = Some((seed / 3) as usize % faults.len());
        let mut now = CALM_START;
        let end = seconds - CALM_END;
        while now < end {
            let index = first.take().unwrap_or_else(|| random.below(faults.len()));
            let fault = vary(faults[index], schedule.crowd, &mut random);
            let last = schedule.add(fault, now, end, &mut random);
            // Often before the last one is over, sometimes after a rest.
            now = if random.below(3) == 0 {
                now + random.between(0.3, (last - now).max(0.5))
            } else {
                last + random.between(1.0, 5.0)
            };
        }
        schedule
    }

    /// Adds `fault` at `from`, perhaps flapping, and says when it is over.
    fn add(&mut self, fault: Fault, from: f64, end: f64, random: &mut Random) -> f64 {
        let (times, on, off) = match fault {
            Refused => (2, random.between(0.5, 1.5), random.between(0.5, 2.0)),
            Reset | Terminated => (1 + random.below(4), 0.05, random.between(0.2, 1.5)),
            _ if random.below(5) == 0 => (3, random.between(0.3, 1.2), random.between(0.3, 1.2)),
            _ => (1, random.between(1.0, 9.0), 0.0),
        };
        let mut now = from;
        for _ in 0..times {
            let to = (now + on).min(end);
            if to > now {
                self.windows.push(Window {
                    from: now,
                    to,
                    fault,
                });
            }
            now += on + off;
        }
        (now - off).min(end)
    }

    /// The faults that may be the cause of what is seen between `from` and `to`.
    pub fn faults_between(&self, from: f64, to: f64) -> String {
        let mut names: Vec<String> = Vec::new();
        let mut add = |name: String| {
            if !names.contains(&name) {
                names.push(name);
            }
        };
        for window in &self.windows {
            if window.from <= to && window.to >= from {
                add(window.fault.to_string());
            }
        }
        if names.is_empty() {
            let earlier = self.windows.iter().filter(|window| window.to < from);
            let last = earlier.max_by(|one, other| one.to.total_cmp(&other.to));
            return last.map_or("nothing".into(), |window| format!("after {}", window.fault));
        }
        names.join(" + ")
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, target, .. } = self;
        write!(f, "seed {seed}: {target:?}, pool of {}", self.pool_size)?;
        f.write_str(if self.crowd { ", crowd" } else { "" })?;
        f.write_str(if self.writes { ", writes:" } else { ":" })?;
        for window in &self.windows {
            let Window { from, to, fault } = window;
            write!(f, " {from:.1}-{to:.1} {fault};")?;
        }
        Ok(())
    }
}

fn vocabulary(target: Target, writes: bool) -> Vec<Fault> {
    let mut faults = vec![
        RouteLost,
        ThreeSilent,
        Refused,
        SlowConnect(Duration::from_millis(2300)),
        Killed,
        Frozen,
        Delay(Duration::ZERO),
        Held,
        Starved,
        Stalled,
        Reset,
        SlowConnect(Duration::ZERO),
        Terminated,
    ];
    if target != Target::Redis {
        faults.extend([FrozenBackends, FrozenPostmaster]);
    }
    if target != Target::PgBouncer {
        // Which logs in to the server for the app.
        faults.extend([OtherPassword { cut: true }, NoSlots { cut: true }]);
    }
    if target == Target::Redis {
        faults.extend([Loading, Paused, UserDeleted, NoPing]);
    }
    if writes {
        faults.push(ReadOnly);
    }
    faults
}

fn vary(fault: Fault, crowd: bool, random: &mut Random) -> Fault {
    match fault {
        // More, and the pool would be too small for the crowd: the app would fail of itself.
        Delay(_) if crowd => Delay(Duration::from_millis(ROUND_TRIPS[0])),
        Delay(_) => Delay(Duration::from_millis(random.one_of(&ROUND_TRIPS))),
        SlowConnect(Duration::ZERO) => {
            SlowConnect(Duration::from_millis(random.one_of(&[300, 600, 1200])))
        }
        OtherPassword { .. } => OtherPassword {
            cut: random.below(3) > 0,
        },
        NoSlots { .. } => NoSlots {
            cut: random.below(3) > 0,
        },
        same => same,
    }
}

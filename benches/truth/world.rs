//! One schedule's servers and routes: brings them into the state that the active faults ask for.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::timeout;

use crate::{
    backend::Backend,
    route::{Connects, Route, State},
    schedule::{Fault, Schedule, Window},
};

/// Which processes of the server are stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Frozen {
    Whole,
    Backends,
    Postmaster,
}

/// What a session of the administrator sets and takes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setting {
    OtherPassword,
    NoSlots,
    ReadOnly,
    UserDeleted,
    NoPing,
}

/// Work of the administrator that waits for a server that listens.
const ADMIN_LIMIT: Duration = Duration::from_millis(400);

pub struct World {
    pub backend: Backend,
    down: bool,
    frozen: BTreeSet<Frozen>,
    settings: BTreeSet<Setting>,
    begun: BTreeSet<usize>,
    ended: BTreeSet<usize>,
    /// The app's connections are to be ended as soon as the server listens.
    cut: bool,
}

impl World {
    pub async fn start(schedule: &Schedule) -> Option<Self> {
        Some(Self {
            backend: Backend::start(schedule.target).await?,
            down: false,
            frozen: BTreeSet::new(),
            settings: BTreeSet::new(),
            begun: BTreeSet::new(),
            ended: BTreeSet::new(),
            cut: false,
        })
    }

    /// Whether any fault of this kind is active.
    pub fn active(schedule: &Schedule, at: f64) -> Vec<&Window> {
        let windows = schedule.windows.iter();
        windows.filter(|window| window.is_active(at)).collect()
    }

    /// Brings everything up to date; called every few milliseconds.
    pub async fn update(&mut self, schedule: &Schedule, at: f64, routes: &[&Route]) {
        let active: Vec<Fault> = Self::active(schedule, at)
            .iter()
            .map(|window| window.fault)
            .collect();
        let state = state(&active);
        for route in routes {
            route.set(state);
        }
        self.begin_and_end(schedule, at, routes).await;
        self.update_process(&active).await;
        if !self.down && self.frozen.is_empty() {
            self.update_settings(&active).await;
        }
    }

    /// What happens once, when a fault begins or ends.
    async fn begin_and_end(&mut self, schedule: &Schedule, at: f64, routes: &[&Route]) {
        for (index, window) in schedule.windows.iter().enumerate() {
            if at >= window.from && self.begun.insert(index) {
                let length = Duration::from_secs_f64(window.to - window.from);
                match window.fault {
                    Fault::ThreeSilent => routes.iter().for_each(|route| {
                        route.silence(3);
                        route.reset_living();
                    }),
                    Fault::Reset | Fault::Refused | Fault::SlowConnect(_) => {
                        routes.iter().for_each(|route| route.reset());
                    }
                    Fault::Terminated
                    | Fault::OtherPassword { cut: true }
                    | Fault::NoSlots { cut: true } => self.cut = true,
                    Fault::Loading => self.backend.load(length),
                    Fault::Paused => self.backend.pause(length),
                    _ => {}
                }
            }
            let is_over = at >= window.to && self.ended.insert(index);
            if is_over && window.fault == Fault::RouteLost {
                routes.iter().for_each(|route| route.silence(usize::MAX));
            }
        }
    }

    async fn update_process(&mut self, active: &[Fault]) {
        let down = active.contains(&Fault::Killed);
        if down && !self.down {
            self.backend.kill();
            self.frozen.clear();
        } else if !down && self.down {
            self.backend.restart().await;
            self.settings = self.backend.lasting(&self.settings);
        }
        self.down = down;
        if self.down {
            return;
        }
        let frozen: BTreeSet<_> = active
            .iter()
            .filter_map(|fault| match fault {
                Fault::Frozen => Some(Frozen::Whole),
                Fault::FrozenBackends => Some(Frozen::Backends),
                Fault::FrozenPostmaster => Some(Frozen::Postmaster),
                _ => None,
            })
            .collect();
        if frozen != self.frozen {
            self.backend.thaw();
            for kind in &frozen {
                self.backend.freeze(*kind);
            }
            self.frozen = frozen;
        }
    }

    /// Tried again at the next update where the server does not listen.
    async fn update_settings(&mut self, active: &[Fault]) {
        let wanted: BTreeSet<_> = active
            .iter()
            .filter_map(|fault| match fault {
                Fault::OtherPassword { .. } => Some(Setting::OtherPassword),
                Fault::NoSlots { .. } => Some(Setting::NoSlots),
                Fault::ReadOnly => Some(Setting::ReadOnly),
                Fault::UserDeleted => Some(Setting::UserDeleted),
                Fault::NoPing => Some(Setting::NoPing),
                _ => None,
            })
            .collect();
        let changed: Vec<_> = wanted.symmetric_difference(&self.settings).collect();
        let mut settings = self.settings.clone();
        for setting in changed {
            let on = wanted.contains(setting);
            let work = self.backend.set(*setting, on);
            if timeout(ADMIN_LIMIT, work).await != Ok(true) {
                break;
            }
            if on {
                settings.insert(*setting);
            } else {
                settings.remove(setting);
            }
        }
        let done = settings == wanted;
        self.settings = settings;
        if self.cut && done {
            self.cut = timeout(ADMIN_LIMIT, self.backend.terminate()).await != Ok(true);
        }
    }
}

fn state(active: &[Fault]) -> State {
    let mut state = State::CLEAR;
    for fault in active {
        match *fault {
            Fault::Delay(trip) => state.latency = state.latency.max(trip / 2),
            Fault::Stalled => state.stalled = true,
            Fault::RouteLost => {
                state.stalled = true;
                state.connects = Connects::Never;
            }
            Fault::ThreeSilent if state.connects != Connects::Reset => {
                state.connects = Connects::Never;
            }
            Fault::Refused => state.connects = Connects::Reset,
            Fault::SlowConnect(time) if state.connects == Connects::Pass => {
                state.connects = Connects::After(time);
            }
            _ => {}
        }
    }
    state
}

//! What the environment says about the run.

use std::{env, ops::RangeInclusive, str::FromStr, time::Duration};

use crate::subject::{Candidate, Kind, Setup};

#[derive(Clone, Debug)]
pub struct Settings {
    pub seeds: RangeInclusive<u64>,
    pub seconds: f64,
    /// Between two probes.
    pub period: Duration,
    /// Of this crate's dependency, unless it is the default.
    pub cache_for: Option<Duration>,
    /// So many schedules at once.
    pub parallel: usize,
    /// This crate's check alone, in its four set-ups.
    pub only_ours: bool,
}

impl Settings {
    pub fn read() -> Self {
        let seeds: String = variable("SEEDS", "1-30".to_owned());
        let (first, last) = seeds.split_once('-').unwrap_or((&seeds, &seeds));
        let number = |text: &str| text.trim().parse().expect("SEEDS is like 1-30");
        let period = Duration::from_millis(variable("PERIOD_MS", 1000));
        // A prober that asks more often wants newer answers.
        let cache_for = (period < Duration::from_secs(1)).then_some(period);
        Self {
            seeds: number(first)..=number(last),
            seconds: variable("SECONDS", 60.0),
            period,
            cache_for,
            parallel: variable("PARALLEL", 6),
            only_ours: variable("ONLY_OURS", 0) != 0,
        }
    }

    /// All checks on all pools that are compared.
    pub fn kinds(&self) -> Vec<Kind> {
        let setups = [(false, false), (true, false), (false, true), (true, true)];
        let setups = setups.map(|(untested, bounded)| Setup { bounded, untested });
        let of = |candidate: Candidate| setups.map(|setup| (candidate, setup));
        let mut kinds = of(Candidate::Ours).to_vec();
        if !self.only_ours {
            kinds.extend(of(Candidate::HandWritten));
            kinds.extend([(Candidate::Peer, setups[0]), (Candidate::Peer, setups[1])]);
            kinds.extend(of(Candidate::None));
        }
        kinds
    }
}

fn variable<T: FromStr>(name: &str, default: T) -> T {
    let name = format!("TOWER_HEALTH_TRUTH_{name}");
    match env::var(&name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name}={text} cannot be read")),
        Err(_) => default,
    }
}

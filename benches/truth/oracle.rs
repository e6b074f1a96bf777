//! Decides what was true, from what the app's requests experienced, and compares the check's answers.

/// The app has had no other result for so long before an answer of the check can be wrong.
pub const GRACE: f64 = 1.5;
/// So many requests must have begun in that time: fewer know too little.
const LEAST: usize = 5;
/// Shorter stretches say nothing about delays.
const LONG: f64 = 3.0;

/// One request of the app, in seconds since the start of the schedule.
#[derive(Clone, Debug)]
pub struct Request {
    pub from: f64,
    pub to: f64,
    pub error: Option<String>,
}

/// One answer of the check; no code if there was none within the prober's second.
#[derive(Clone, Debug)]
pub struct Answer {
    pub at: f64,
    pub code: Option<u16>,
    /// Status and reason, where the check gives them.
    pub words: String,
}

impl Answer {
    pub fn is_ready(&self) -> bool {
        self.code == Some(200)
    }
}

/// What a client without a pool experienced.
#[derive(Clone, Copy, Debug)]
pub struct Fresh {
    pub at: f64,
    pub ok: bool,
}

/// While every request that began had the same result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stretch {
    pub works: bool,
    pub from: f64,
    pub to: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wrong {
    FalseUp,
    FalseDown,
    /// 200, while the harness held every connection in front of a server that answers.
    Held,
}

/// From the first wrong answer to the next right one, or to the end of what made it wrong.
#[derive(Clone, Debug)]
pub struct WrongInterval {
    pub wrong: Wrong,
    pub from: f64,
    pub to: f64,
    pub stretch: Stretch,
    pub words: String,
    /// The app's requests that began in it: how many worked, how many were made, the first error.
    pub worked: usize,
    pub made: usize,
    pub error: String,
    /// The same for the fresh client.
    pub fresh: (usize, usize),
}

/// Stretches of requests sorted by their beginning.
///
/// A failing one begins with its first request. One that works begins with its first
/// answer: before that the app had nothing. Each ends where the first request of the other kind begins.
pub fn stretches(requests: &[Request], end: f64) -> Vec<Stretch> {
    let mut found: Vec<Stretch> = Vec::new();
    for request in requests {
        let works = request.error.is_none();
        match found.last_mut() {
            Some(last) if last.works == works => {}
            last => {
                if let Some(last) = last {
                    last.to = request.from;
                }
                let from = if works { request.to } else { request.from };
                found.push(Stretch {
                    works,
                    from,
                    to: end,
                });
            }
        }
    }
    found
}

/// The wrong intervals among `answers`, sorted by time.
pub fn wrong_intervals(
    stretches: &[Stretch],
    answers: &[Answer],
    requests: &[Request],
    fresh: &[Fresh],
    is_held: impl Fn(f64) -> bool,
) -> Vec<WrongInterval> {
    let mut found: Vec<WrongInterval> = Vec::new();
    for (index, answer) in answers.iter().enumerate() {
        let Some(stretch) = contradicted(stretches, answer) else {
            continue;
        };
        let recent =
            |request: &&Request| answer.at - GRACE <= request.from && request.from < answer.at;
        if requests.iter().filter(recent).count() < LEAST {
            continue;
        }
        let next = answers.get(index + 1).map_or(stretch.to, |next| next.at);
        let to = next.min(stretch.to);
        let wrong = match stretch.works {
            true => Wrong::FalseDown,
            false if is_held(answer.at) && answers_fresh(fresh, answer.at) => Wrong::Held,
            false => Wrong::FalseUp,
        };
        match found.last_mut() {
            Some(last) if last.to == answer.at && last.wrong == wrong => last.to = to,
            _ => found.push(WrongInterval {
                wrong,
                from: answer.at,
                to,
                stretch: *stretch,
                words: answer.words.clone(),
                worked: 0,
                made: 0,
                error: String::new(),
                fresh: (0, 0),
            }),
        }
    }
    for interval in &mut found {
        describe(interval, requests, fresh);
    }
    found
}

/// The stretch that makes this answer wrong.
fn contradicted<'a>(stretches: &'a [Stretch], answer: &Answer) -> Option<&'a Stretch> {
    stretches.iter().find(|stretch| {
        let covers = stretch.from + GRACE <= answer.at && answer.at < stretch.to;
        covers && stretch.works != answer.is_ready()
    })
}

fn answers_fresh(fresh: &[Fresh], at: f64) -> bool {
    let last = fresh.iter().rfind(|look| look.at <= at);
    last.is_some_and(|look| look.ok)
}

fn describe(interval: &mut WrongInterval, requests: &[Request], fresh: &[Fresh]) {
    let since = interval.from - GRACE;
    let within = |at: f64| since <= at && at < interval.to;
    let made = requests.iter().filter(|request| within(request.from));
    for request in made {
        interval.made += 1;
        match &request.error {
            None => interval.worked += 1,
            Some(error) if interval.error.is_empty() => interval.error.clone_from(error),
            Some(_) => {}
        }
    }
    for look in fresh.iter().filter(|look| within(look.at)) {
        interval.fresh.0 += usize::from(look.ok);
        interval.fresh.1 += 1;
    }
}

/// How long until the check says so: of failures that last, and of recoveries from them.
pub fn delays(stretches: &[Stretch], answers: &[Answer]) -> (Vec<f64>, Vec<f64>) {
    let (mut detection, mut recovery) = (Vec::new(), Vec::new());
    let mut has_failed = false;
    for stretch in stretches {
        let before = answers.iter().rfind(|answer| answer.at < stretch.from);
        let is_long = stretch.to - stretch.from >= LONG;
        let agrees = |answer: &Answer| answer.is_ready() == stretch.works;
        let within = |answer: &&Answer| stretch.from <= answer.at && answer.at < stretch.to;
        let first = answers.iter().filter(within).find(|answer| agrees(answer));
        let delay = match (before.is_some_and(agrees), first) {
            (true, _) => Some(0.0),
            (false, Some(answer)) => Some(answer.at - stretch.from),
            // It never said so.
            (false, None) => Some(stretch.to - stretch.from),
        };
        if is_long && !stretch.works {
            detection.extend(delay);
        } else if is_long && has_failed {
            recovery.extend(delay);
        }
        has_failed |= !stretch.works;
    }
    (detection, recovery)
}

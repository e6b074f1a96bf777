use std::sync::OnceLock;

use http::StatusCode;
use metrics::{Counter, Key};

use super::{
    PROBE_REQUESTS_TOTAL,
    recorder::{METADATA, key, register},
};
use crate::probe::Probe;

/// As many distinct codes as one probe can have: 200, 503, one for each status, 403, 404 and 405, and one to spare.
const CODES: usize = 10;

/// There from the first scrape on: a counter that first appears as 1 is no increase to Prometheus.
const ANSWERS: [StatusCode; 2] = [StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE];
/// There from the first of their kind on.
const REFUSALS: [StatusCode; 3] = [
    StatusCode::FORBIDDEN,
    StatusCode::NOT_FOUND,
    StatusCode::METHOD_NOT_ALLOWED,
];

/// The answered requests of one probe, by code.
///
/// Counting allocates nothing: what these codes are called is made beforehand, what others are with
/// their first answer.
#[derive(Debug)]
pub(crate) struct RequestNumbers {
    probe: Probe,
    /// Filled from the front.
    series: [OnceLock<Series>; CODES],
}

#[derive(Debug)]
struct Series {
    code: StatusCode,
    key: Key,
    counter: OnceLock<Counter>,
}

impl RequestNumbers {
    pub(crate) fn new(probe: &Probe) -> Self {
        let numbers = Self {
            probe: probe.clone(),
            series: Default::default(),
        };
        for code in ANSWERS.into_iter().chain(REFUSALS) {
            numbers.series_of(code);
        }
        numbers
    }

    /// Counts an answer with `code`.
    #[inline]
    pub(crate) fn count(&self, code: StatusCode) {
        let known = self.series.iter().map_while(OnceLock::get);
        match known
            .filter(|series| series.code == code)
            .find_map(|series| series.counter.get())
        {
            Some(counter) => counter.increment(1),
            None => self.count_first(code),
        }
    }

    #[cold]
    fn count_first(&self, code: StatusCode) {
        let Some(found) = self.series_of(code) else {
            return;
        };
        let ((), lasts) = register(|recorder| {
            recorder
                .register_counter(&found.key, &METADATA)
                .increment(1);
        });
        if !lasts {
            return;
        }
        let known = self.series.iter().map_while(OnceLock::get);
        for series in known.filter(|series| series.code == code || ANSWERS.contains(&series.code)) {
            let (counter, _) =
                register(|recorder| recorder.register_counter(&series.key, &METADATA));
            // Set by another thread meanwhile: the same series.
            let _ = series.counter.set(counter);
        }
    }

    /// The series of `code`, made where there is none yet; `None` when there are too many.
    fn series_of(&self, code: StatusCode) -> Option<&Series> {
        self.series
            .iter()
            .map(|place| place.get_or_init(|| self.make(code)))
            .find(|series| series.code == code)
    }

    fn make(&self, code: StatusCode) -> Series {
        let labels = [
            ("probe", self.probe.as_str().to_owned().into()),
            ("code", code.as_str().to_owned().into()),
        ];
        Series {
            code,
            key: key(PROBE_REQUESTS_TOTAL, labels),
            counter: OnceLock::new(),
        }
    }
}

use std::sync::OnceLock;

use http::StatusCode;
use metrics::{Counter, Key};

use super::{
    PROBE_REQUESTS_TOTAL,
    series::{METADATA, key, register},
};
use crate::probe::Probe;

/// Registered with the first answer: Prometheus sees no increase in a counter that first appears as 1.
const ANSWERS: [StatusCode; 2] = [StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE];
/// Registered with the first rejection of this code.
const REJECTIONS: [StatusCode; 2] = [StatusCode::FORBIDDEN, StatusCode::METHOD_NOT_ALLOWED];

/// Counts the answered requests of one probe by code.
///
/// Allocates nothing after the first request of a code.
#[derive(Debug)]
pub(crate) struct ProbeMetrics {
    series: Vec<CodeSeries>,
}

#[derive(Debug)]
struct CodeSeries {
    code: StatusCode,
    key: Key,
    counter: OnceLock<Counter>,
}

impl ProbeMetrics {
    /// `codes` are the status codes of the endpoint.
    pub(crate) fn new(probe: &Probe, codes: impl IntoIterator<Item = StatusCode>) -> Self {
        let mut series: Vec<CodeSeries> = Vec::new();
        for code in ANSWERS.into_iter().chain(REJECTIONS).chain(codes) {
            if series.iter().all(|other| other.code != code) {
                series.push(CodeSeries::new(probe, code));
            }
        }
        Self { series }
    }

    /// Counts an answer with `code`.
    pub(crate) fn count(&self, code: StatusCode) {
        let Some(series) = self.series.iter().find(|series| series.code == code) else {
            return;
        };
        match series.counter.get() {
            Some(counter) => counter.increment(1),
            None => self.count_first(series),
        }
    }

    fn count_first(&self, counted: &CodeSeries) {
        let ((), may_keep) = register(|recorder| {
            recorder
                .register_counter(&counted.key, &METADATA)
                .increment(1);
        });
        if !may_keep {
            return;
        }
        for series in &self.series {
            if series.code == counted.code || ANSWERS.contains(&series.code) {
                let (counter, _) =
                    register(|recorder| recorder.register_counter(&series.key, &METADATA));
                // Another thread may have set it in the meantime: to the same series.
                let _ = series.counter.set(counter);
            }
        }
    }
}

impl CodeSeries {
    fn new(probe: &Probe, code: StatusCode) -> Self {
        let labels = [
            ("probe", probe.as_str().to_owned().into()),
            ("code", code.as_str().to_owned().into()),
        ];
        Self {
            code,
            key: key(PROBE_REQUESTS_TOTAL, labels),
            counter: OnceLock::new(),
        }
    }
}

use std::sync::OnceLock;

use http::StatusCode;
use metrics::{Counter, Key, Label, Level, Metadata, with_recorder};

use super::{PROBE_REQUESTS_TOTAL, descriptions::describe};
use crate::probe::Probe;

static METADATA: Metadata<'static> =
    Metadata::new("tower_health", Level::INFO, Some(module_path!()));

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
                let labels = vec![
                    Label::new("probe", probe.as_str().to_owned()),
                    Label::new("code", code.as_str().to_owned()),
                ];
                series.push(CodeSeries {
                    code,
                    key: Key::from_parts(PROBE_REQUESTS_TOTAL, labels),
                    counter: OnceLock::new(),
                });
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
            None => self.count_first(code),
        }
    }

    fn count_first(&self, code: StatusCode) {
        with_recorder(|recorder| {
            // Before a recorder is installed, a no-op recorder of size zero replaces it. Its handles must not be
            // kept: they would never record. A real recorder of size zero is called each time.
            let may_keep = size_of_val(recorder) > 0;
            if may_keep {
                describe(recorder);
            }
            for series in &self.series {
                if series.code != code && !ANSWERS.contains(&series.code) {
                    continue;
                }
                let counter = recorder.register_counter(&series.key, &METADATA);
                if series.code == code {
                    counter.increment(1);
                }
                if may_keep {
                    // Another thread may have set it in the meantime: to the same series.
                    let _ = series.counter.set(counter);
                }
            }
        });
    }
}

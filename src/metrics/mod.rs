//! Numbers of every run and every answered probe, through the facade of the crate `metrics`.
//!
//! | name | kind | labels | |
//! |---|---|---|---|
//! | `health_check_status` | gauge | `check` | what is shown: 1 up, 0.5 degraded, 0 down |
//! | `health_check_consecutive_failures` | gauge | `check` | completed runs that failed without a success between |
//! | `health_check_duration_seconds` | histogram | `check` | how long each run took |
//! | `health_check_runs_total` | counter | `check`, `outcome` | completed runs by what they found: `up`, `degraded`, `down` |
//! | `health_pool_connections` | gauge | `check`, `state` | the pool at the end of the last run that saw it: `max`, `open`, `idle`, `in_use` |
//! | `health_probe_requests_total` | counter | `probe`, `code` | answered HTTP requests, not gRPC calls: `liveness`, `readiness`, `startup`, `full` or the group |
//!
//! 1. Where no recorder is installed nothing is recorded. One that is installed later takes
//!    over from the next run and the next probe on, and is then kept.
//! 2. `status` follows the thresholds; `outcome` and `consecutive_failures` are the run's own. A
//!    dependency that no run has judged yet has no status, and one that was removed has `NaN`.
//! 3. Labels come from what the app configured, never from a request: their number is bounded.
//!    The code of a probe whose caller hung up is not counted.
//! 4. Two handles in one process whose dependencies have the same name share their series.
//!
//! The deployment trap: checks run when somebody asks. Without probes the gauges stand still,
//! so alert on `increase(health_check_runs_total[5m]) == 0`, too, or let
//! [`refresh_every`](crate::HealthBuilder::refresh_every) ask.
//!
//! `metrics-exporter-prometheus` makes a summary of a histogram unless the buckets are set:
//!
//! ```
//! use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
//! use tower_health::metrics::{CHECK_DURATION_SECONDS, DURATION_BUCKETS};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let duration = Matcher::Full(CHECK_DURATION_SECONDS.to_owned());
//! let exporter = PrometheusBuilder::new()
//!     .set_buckets_for_metric(duration, &DURATION_BUCKETS)?
//!     .install_recorder()?;
//! println!("{}", exporter.render());
//! # Ok(())
//! # }
//! ```

mod check_metrics;
mod probe_metrics;
mod series;

pub(crate) use self::{check_metrics::CheckMetrics, probe_metrics::ProbeMetrics};

/// Gauge, by `check`: 1 up, 0.5 degraded, 0 down.
pub const CHECK_STATUS: &str = "health_check_status";
/// Gauge, by `check`: completed runs that failed without a success between.
pub const CHECK_CONSECUTIVE_FAILURES: &str = "health_check_consecutive_failures";
/// Histogram in seconds, by `check`.
pub const CHECK_DURATION_SECONDS: &str = "health_check_duration_seconds";
/// Counter, by `check` and `outcome` (`up`, `degraded`, `down`).
pub const CHECK_RUNS_TOTAL: &str = "health_check_runs_total";
/// Gauge, by `check` and `state` (`max`, `open`, `idle`, `in_use`).
pub const POOL_CONNECTIONS: &str = "health_pool_connections";
/// Counter, by `probe` and `code`.
pub const PROBE_REQUESTS_TOTAL: &str = "health_probe_requests_total";

/// Upper bounds of buckets for [`CHECK_DURATION_SECONDS`], 0.5 ms to 2.5 s.
///
/// Finest where a healthy check lies, with bounds at the budgets that end one: 0.7 s of a
/// pool's check and 0.8 s of a run.
pub const DURATION_BUCKETS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.7, 0.8, 2.5,
];

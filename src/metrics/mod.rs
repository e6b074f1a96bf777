//! Metrics of every run and every answered probe, through the facade of the crate `metrics`.
//!
//! | name | kind | labels | meaning |
//! |---|---|---|---|
//! | `health_check_status` | gauge | `check` | the displayed status: 1 up, 0.5 degraded, 0 down |
//! | `health_check_consecutive_failures` | gauge | `check` | completed runs that failed without a success between |
//! | `health_check_duration_seconds` | histogram | `check` | the duration of each run |
//! | `health_check_runs_total` | counter | `check`, `outcome` | completed runs by outcome: `up`, `degraded`, `down` |
//! | `health_pool_connections` | gauge | `check`, `state` | pool connections at the end of the last run that observed them: `max`, `open`, `idle`, `in_use` |
//! | `health_probe_requests_total` | counter | `probe`, `code` | answered HTTP requests, not gRPC calls: `liveness`, `readiness`, `startup`, `full` or the group |
//!
//! 1. Without an installed recorder nothing is recorded. A recorder that is installed later gets the next run and the
//!    next probe, and is used from then on.
//! 2. `status` follows the thresholds; `outcome` and `consecutive_failures` are those of the run. A dependency has
//!    no status before its first result, and `NaN` after its removal.
//! 3. Labels are from the configuration of the app, never from a request: their number is bounded. A request whose
//!    caller disconnects before the answer is not counted.
//! 4. Two handles in one process share the series of dependencies with the same name.
//!
//! Deployment trap: only a caller starts a run. Without probes the gauges do not change. Therefore also alert on
//! `increase(health_check_runs_total[5m]) == 0`, or set [`refresh_every`](crate::HealthBuilder::refresh_every).
//!
//! `metrics-exporter-prometheus` exports a histogram as a summary, unless the buckets are set:
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

// A file imports those above it only.
mod descriptions;

pub(crate) mod check_metrics;
mod probe_metrics;

pub(crate) use self::probe_metrics::ProbeMetrics;

/// Gauge, by `check`: the displayed status, 1 up, 0.5 degraded, 0 down.
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
/// They are finest in the range of a healthy check. Two are the default time limits: 0.7 s of a pool check, and
/// 0.8 s of a run.
pub const DURATION_BUCKETS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.7, 0.8, 2.5,
];

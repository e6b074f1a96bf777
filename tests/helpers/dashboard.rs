//! What the Grafana dashboard asks Prometheus.

use serde_json::Value;

/// The expressions of all panels, with everything chosen in the variables and short ranges.
pub fn queries() -> Vec<String> {
    let text = include_str!("../../examples/deploy/grafana/health.json");
    let dashboard: Value = serde_json::from_str(text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().expect("targets"));
    let filled = |target: &Value| {
        let text = target["expr"].as_str().expect("an expression");
        let text = text
            .replace("$__rate_interval", "5s")
            .replace("$__range", "1m");
        let text = text
            .replace("$job", ".*")
            .replace("$instance", ".*")
            .replace("$check", ".*");
        assert!(!text.contains('$'), "an unknown variable: {text}");
        text
    };
    targets.map(filled).collect()
}

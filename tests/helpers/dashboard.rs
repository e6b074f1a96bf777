//! What the Grafana dashboard asks Prometheus.

use serde_json::Value;

/// The dashboard in the repository.
pub fn dashboard() -> Value {
    let text = include_str!("../../examples/deploy/grafana/health.json");
    serde_json::from_str(text).expect("JSON")
}

/// The expressions of all panels, with everything chosen in the variables and short ranges.
pub fn queries() -> Vec<String> {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().expect("panels");
    let queries: Vec<_> = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().expect("targets"))
        .map(|target| filled(target["expr"].as_str().expect("an expression")))
        .collect();
    assert!(queries.len() >= panels.len());
    queries
}

/// As Grafana fills in the variables of `expression`.
pub fn filled(expression: &str) -> String {
    let mut text = expression.to_owned();
    for (variable, value) in [
        ("$__rate_interval", "5s"),
        ("$__range", "1m"),
        ("$job", ".*"),
        ("$instance", ".*"),
        ("$check", ".*"),
    ] {
        text = text.replace(variable, value);
    }
    assert!(!text.contains('$'), "an unknown variable: {text}");
    text
}

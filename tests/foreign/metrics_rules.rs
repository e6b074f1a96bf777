//! The alert rules and the dashboard, by Prometheus' own tool.

use crate::helpers::dashboard;
use std::{fmt::Write as _, path::Path, process::Command};

fn promtool(arguments: &[&str]) {
    let output = Command::new("promtool")
        .args(arguments)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/deploy/prometheus"))
        .output()
        .expect("promtool is installed by tests/setup.sh");
    assert!(
        output.status.success(),
        "promtool {}: {}{}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn the_rules_and_the_configuration_are_valid() {
    promtool(&["check", "rules", "--lint-fatal", "health.rules.yml"]);
    promtool(&["check", "config", "--lint-fatal", "prometheus.yml"]);
}

#[test]
fn the_alerts_fire_when_they_should_and_only_then() {
    promtool(&["test", "rules", "health.rules.test.yml"]);
}

#[test]
fn every_alert_has_a_test_in_which_it_fires() {
    let rules = include_str!("../../examples/deploy/prometheus/health.rules.yml");
    let tests = include_str!("../../examples/deploy/prometheus/health.rules.test.yml");
    let alerts: Vec<_> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    assert!(alerts.len() >= 9, "{alerts:?}");
    for alert in alerts {
        let fires = tests.split("- eval_time:").any(|test| {
            test.contains(&format!("alertname: {alert}\n")) && test.contains("exp_alerts:")
        });
        assert!(fires, "{alert}");
    }
}

#[test]
fn every_expression_of_the_dashboard_is_valid() {
    let mut rules = String::from("groups:\n- name: dashboard\n  rules:\n");
    for (number, query) in dashboard::queries().iter().enumerate() {
        write!(
            rules,
            "  - record: dashboard:{number}\n    expr: {}\n",
            serde_json::Value::from(query.as_str())
        )
        .expect("a string");
    }
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dashboard.rules.yml");
    std::fs::write(&file, rules).expect("writes");
    promtool(&[
        "check",
        "rules",
        "--lint=none",
        file.to_str().expect("text"),
    ]);
}

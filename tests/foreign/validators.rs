//! Deployment files, by the validators of their systems.

use std::process::Command;

use crate::support::{installed, wheel};

#[test]
fn the_files_are_valid_and_alerts_fire_when_they_should_only() {
    let [promtool, kubernetes] = [installed("promtool"), wheel("kubernetes-validate")];
    for (program, arguments) in [
        (
            &promtool,
            &[
                "check",
                "config",
                "--lint-fatal",
                "prometheus/prometheus.yml",
            ][..],
        ),
        (
            &promtool,
            &["test", "rules", "prometheus/health.rules.test.yml"],
        ),
        (&kubernetes, &["--strict", "kubernetes.yaml"]),
    ] {
        let mut command = Command::new(program);
        command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/deploy"));
        let output = command.args(arguments).output().expect("starts");
        assert!(output.status.success(), "{output:?}");
    }
}

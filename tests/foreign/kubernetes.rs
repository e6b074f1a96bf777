//! `examples/deploy/kubernetes.yaml`, by the schemas of Kubernetes. The files of HAProxy, Envoy and
//! Prometheus are used by those programs themselves.

use std::process::Command;

use crate::support::wheel;

#[test]
fn the_deployment_is_valid() {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/examples/deploy/kubernetes.yaml"
    );
    let validator = Command::new(wheel("kubernetes-validate"))
        .args(["--strict", file])
        .output()
        .expect("starts");
    assert!(validator.status.success(), "{validator:?}");
}

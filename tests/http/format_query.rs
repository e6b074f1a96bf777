//! `?verbose` and `?exclude=` as in kube-apiserver, over a real server.

use std::{future::pending, net::SocketAddr, time::Duration};

use axum::Router;
use tower_health::{
    Access, Dependency, Failure, Format, Health, HealthLayer, Outcome, Probe, Reason,
};

use super::server::serve_axum;
use crate::helpers::{switch::Switch, wire};

async fn serve(layer: HealthLayer) -> SocketAddr {
    serve_axum(Router::new().layer(layer)).await
}

/// With `ping`, which is up, and, if `has_bad`, with `bad` in the group `grp`, which is down.
fn health(has_bad: bool) -> Health {
    let mut builder = Health::builder().check("ping", async || Ok(Outcome::up()));
    if has_bad {
        let fails = async || Err(Failure::new(Reason::Failed).message("this will fail"));
        builder = builder.add(Dependency::new("bad", fails).group("grp"));
    }
    let health = builder.build();
    health.set_started();
    health
}

/// In text, with details for every caller.
fn text(health: Health) -> HealthLayer {
    HealthLayer::new(health)
        .details(Access::everybody())
        .format(Format::text())
        .path("/internal/ready", Probe::Readiness)
}

/// The table of kube-apiserver's tests, with 503 for its 500 and with our reasons.
#[tokio::test]
async fn answers_are_those_of_kube_apiserver() {
    let failing = "[+]ping ok\n[-]bad failed: failed: this will fail\nNAME check failed\n";
    let passing = |line: &str| format!("[+]ping ok\n{line}NAME check passed\n");
    let excluded = passing("[+]bad excluded: ok\n");
    let excluded_group = passing("[+]bad excluded with grp: ok\n");
    let unknown = "warn: some health checks cannot be excluded: no matches for \"dontexist\"\n";
    let unknown = passing(unknown);
    let verbose = passing("");
    let ping_excluded = failing.replace("ping ok", "ping excluded: ok");
    let bad = "internal server error: failed: this will fail\n";
    let table = [
        ("", false, 200, "ok"),
        ("/ping", false, 200, "ok"),
        ("/ping", true, 200, "ok"),
        ("?verbose", false, 200, &verbose),
        ("?exclude=dontexist", false, 200, "ok"),
        ("?exclude=bad", true, 200, "ok"),
        ("?exclude=grp", true, 200, "ok"),
        ("?verbose=true&exclude=bad", true, 200, &excluded),
        ("?verbose=true&exclude=grp", true, 200, &excluded_group),
        ("?verbose=true&exclude=dontexist", false, 200, &unknown),
        ("?verbose", true, 503, failing),
        ("", true, 503, failing),
        ("?exclude=ping", true, 503, &ping_excluded),
        ("/bad", true, 503, bad),
        // Encoded, repeated, among other fields, and what does not name the dependency.
        ("?exclude=%62ad", true, 200, "ok"),
        ("?exclude=bad&exclude=bad", true, 200, "ok"),
        ("?a=b&exclude=bad", true, 200, "ok"),
        ("?exclude=BAD", true, 503, failing),
        ("?Exclude=bad", true, 503, failing),
        ("?exclude=bad%20", true, 503, failing),
        ("?exclude=%ff", true, 503, failing),
        ("?exclude=bad,ping", true, 503, failing),
    ];
    for has_bad in [false, true] {
        let address = serve(text(health(has_bad))).await;
        for name in ["readyz", "health", "internal/ready"] {
            for (suffix, _, code, body) in table.iter().filter(|row| row.1 == has_bad) {
                let answer = wire::get(address, &format!("/{name}{suffix}")).await;
                // Only `?verbose` names exclusions that match nothing.
                let body = body.replace("NAME", name);
                let found = answer.body.split_inclusive('\n');
                let warned = suffix.contains("verbose");
                let found: String = found
                    .filter(|line| warned || !line.starts_with("warn: "))
                    .collect();
                assert_eq!((answer.code, found), (*code, body), "{name}{suffix}");
            }
        }
        let many = format!("/readyz?{}exclude=bad", "exclude=x&".repeat(1_000));
        let answer = wire::get(address, &many).await;
        assert_eq!(
            answer.code,
            if has_bad { 503 } else { 200 },
            "it is bounded"
        );
    }
    let address = serve(text(Health::builder().build())).await;
    let without_checks = wire::get(address, "/livez?verbose").await;
    assert_eq!(without_checks.body, "[+]ping ok\nlivez check passed\n");
}

#[tokio::test]
async fn readiness_excludes_in_every_format() {
    let layer = HealthLayer::new(health(true)).details(Access::everybody());
    let address = serve(layer).await;
    let ready = wire::get(address, "/readyz?exclude=bad").await;
    assert_eq!(ready.code, 200);
    assert!(
        ready.body.starts_with(r#"{"status":"up","#),
        "{}",
        ready.body
    );
    let excluded = r#""bad":{"status":"unknown","required":true,"excluded":true"#;
    assert!(ready.body.contains(excluded), "{}", ready.body);
    // In native JSON, other probes ignore their query, and the cached answer is unchanged.
    for path in ["/health?exclude=bad", "/readyz"] {
        assert_eq!(wire::get(address, path).await.code, 503, "{path}");
    }
}

#[tokio::test]
async fn an_excluded_dependency_is_not_checked() {
    let (one, other) = (Switch::on(), Switch::on());
    let health = Health::builder()
        .check("one", one.check())
        .check("other", other.check())
        .build();
    let address = serve(text(health)).await;
    wire::get(address, "/readyz?exclude=other").await;
    assert_eq!((one.runs(), other.runs()), (1, 0));
    wire::get(address, "/readyz").await;
    assert_eq!(other.runs(), 1);
}

#[tokio::test]
async fn an_excluded_run_that_hangs_is_not_waited_for() {
    let hour = Duration::from_secs(3_600);
    let hangs = Dependency::new("hangs", async || pending().await).timeout(hour);
    let health = Health::builder()
        .check("ping", async || Ok(Outcome::up()))
        .add(hangs)
        .answer_within(hour)
        .build();
    health.set_started();
    let address = serve(text(health)).await;
    // `wire` waits 30 s at most.
    assert_eq!(wire::get(address, "/readyz?exclude=hangs").await.code, 200);
}

#[tokio::test]
async fn a_drain_cannot_be_excluded() {
    let health = health(true);
    health.set_draining(true);
    let address = serve(text(health)).await;
    let answer = wire::get(address, "/readyz?exclude=bad&exclude=lifecycle").await;
    assert_eq!(answer.code, 503);
    let line = "[-]lifecycle failed: draining\n";
    assert!(answer.body.contains(line), "{}", answer.body);
}

#[tokio::test]
async fn an_unauthorized_callers_query_changes_nothing() {
    for format in [Format::json(), Format::text()] {
        let address = serve(HealthLayer::new(health(true)).format(format)).await;
        let plain = wire::get(address, "/readyz").await;
        assert_eq!(plain.code, 503);
        for query in [
            "exclude=bad",
            "exclude=grp",
            "verbose",
            "verbose&exclude=bad",
        ] {
            let answer = wire::get(address, &format!("/readyz?{query}")).await;
            assert_eq!(answer, plain, "{query}");
        }
    }
}

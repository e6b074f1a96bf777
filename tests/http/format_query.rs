//! `?verbose` and `?exclude=` as in kube-apiserver.

use std::{future::pending, time::Duration};

use tower_health::{
    Access, Dependency, Failure, Format, Health, HealthLayer, Outcome, Probe, Reason,
};

use crate::helpers::{layer_client::LayerClient, switch::Switch};

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
fn text(health: &Health) -> LayerClient {
    let layer = LayerClient::new(health).0.format(Format::text());
    LayerClient(layer.path("/internal/ready", Probe::Readiness))
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
        // Encoded, among other fields, and what does not name the dependency.
        ("?a=b&exclude=%62ad", true, 200, "ok"),
        ("?exclude=BAD", true, 503, failing),
        ("?exclude=bad,ping", true, 503, failing),
    ];
    for (suffix, has_bad, code, body) in table {
        let client = text(&health(has_bad));
        for name in ["readyz", "health", "internal/ready"] {
            let (found, text) = client.get(&format!("/{name}{suffix}")).await;
            // Only `?verbose` names exclusions that match nothing.
            let is_shown = |line: &&str| suffix.contains("verbose") || !line.starts_with("warn: ");
            let text: String = text.split_inclusive('\n').filter(is_shown).collect();
            assert_eq!(
                (found, text),
                (code, body.replace("NAME", name)),
                "{suffix}"
            );
        }
    }
    let without_checks = text(&Health::builder().build()).get("/livez?verbose").await;
    assert_eq!(without_checks.1, "[+]ping ok\nlivez check passed\n");
}

#[tokio::test]
async fn readiness_excludes_in_every_format() {
    let client = LayerClient::new(&health(true));
    let (code, body) = client.get("/readyz?exclude=bad").await;
    assert_eq!(code, 200);
    assert!(body.starts_with(r#"{"status":"up","#), "{body}");
    let excluded = r#""bad":{"status":"unknown","required":true,"excluded":true"#;
    assert!(body.contains(excluded), "{body}");
    // In native JSON, other probes ignore their query, and the cached answer is unchanged.
    for path in ["/health?exclude=bad", "/readyz"] {
        assert_eq!(client.code(path).await, 503, "{path}");
    }
}

/// Not even a run that hangs delays the answer: the clock would advance only if the answer waited.
#[tokio::test(start_paused = true)]
async fn an_excluded_dependency_is_not_checked_or_waited_for() {
    let (one, other) = (Switch::on(), Switch::on());
    let hour = Duration::from_secs(3_600);
    let hangs = Dependency::new("hangs", async || pending().await);
    let health = Health::builder()
        .check("one", one.check())
        .check("other", other.check())
        .add(hangs.timeout(hour))
        .answer_within(hour)
        .build();
    health.set_started();
    let (client, start) = (text(&health), tokio::time::Instant::now());
    assert_eq!(
        client.code("/readyz?exclude=other&exclude=hangs").await,
        200
    );
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!((one.runs(), other.runs()), (1, 0));
}

#[tokio::test]
async fn a_drain_cannot_be_excluded() {
    let health = health(true);
    health.set_draining(true);
    let path = "/readyz?exclude=bad&exclude=lifecycle";
    let (code, body) = text(&health).get(path).await;
    assert_eq!(code, 503);
    assert!(body.contains("[-]lifecycle failed: draining\n"), "{body}");
}

#[tokio::test]
async fn an_unauthorized_callers_query_changes_nothing() {
    for format in [Format::json(), Format::text()] {
        let layer = HealthLayer::new(health(true)).details(Access::nobody());
        let client = LayerClient(layer.format(format));
        let plain = client.get("/readyz").await;
        assert_eq!(plain.0, 503);
        for query in ["exclude=bad", "exclude=grp", "verbose&exclude=bad"] {
            let found = client.get(&format!("/readyz?{query}")).await;
            assert_eq!(found, plain, "{query}");
        }
    }
}

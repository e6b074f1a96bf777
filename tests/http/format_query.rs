//! `?verbose` and `?exclude=` as in kube-apiserver.

use std::{future::pending, time::Duration};

use tower_health::{Dependency, Failure, Format, Health, Outcome, Probe, Reason};

use crate::helpers::{layer_client::LayerClient, switch::Switch};

/// With `ping`, which is up, and `bad` in the group `grp`, which is down.
fn health() -> Health {
    let fails = async || Err(Failure::new(Reason::Failed).message("this will fail"));
    let health = Health::builder()
        .check("ping", async || Ok(Outcome::up()))
        .add(Dependency::new("bad", fails).group("grp"))
        .build();
    health.set_started();
    health
}

/// In text, with details for every caller.
fn text(health: &Health) -> LayerClient {
    let layer = LayerClient::new(health).0.format(Format::text());
    LayerClient(layer.path("/internal/ready", Probe::Readiness))
}

/// Rows of the table of kube-apiserver's tests, with 503 for its 500 and with our reasons.
#[tokio::test]
async fn answers_are_those_of_kube_apiserver() {
    let failing = "[+]ping ok\n[-]bad failed: failed: this will fail\nNAME check failed\n";
    let passing = |line: &str| format!("[+]ping ok\n{line}NAME check passed\n");
    let unknown = "[+]bad excluded with grp: ok\n\
        warn: some health checks cannot be excluded: no matches for \"BAD\",\"bad,ping\"\n";
    let health = health();
    let client = text(&health);
    for (suffix, code, body) in [
        ("", 503, failing),
        ("?verbose", 503, failing),
        ("/ping", 200, "ok"),
        (
            "/bad",
            503,
            "internal server error: failed: this will fail\n",
        ),
        ("?exclude=grp", 200, "ok"),
        // Encoded, among other fields, and what does not name the dependency.
        ("?a=b&exclude=%62ad&exclude=x", 200, "ok"),
        (
            "?exclude=ping",
            503,
            &failing.replace("ping ok", "ping excluded: ok"),
        ),
        (
            "?verbose&exclude=bad",
            200,
            &passing("[+]bad excluded: ok\n"),
        ),
        (
            "?verbose&exclude=grp&exclude=BAD&exclude=bad,ping",
            200,
            &passing(unknown),
        ),
    ] {
        for name in ["readyz", "health", "internal/ready"] {
            let expected = (code, body.replace("NAME", name));
            let found = client.get(&format!("/{name}{suffix}")).await;
            assert_eq!(found, expected, "{suffix}");
        }
    }
    health.set_draining(true);
    let (code, body) = client.get("/readyz?exclude=bad&exclude=lifecycle").await;
    assert_eq!(code, 503);
    assert!(body.contains("[-]lifecycle failed: draining\n"), "{body}");
}

#[tokio::test]
async fn readiness_excludes_in_every_format() {
    let client = LayerClient::new(&health());
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
    let code = client.code("/readyz?exclude=other&exclude=hangs").await;
    assert_eq!((code, start.elapsed()), (200, Duration::ZERO));
    assert_eq!((one.runs(), other.runs()), (1, 0));
}

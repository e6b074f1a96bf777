//! `?verbose` and `?exclude=` as in kube-apiserver, over a real server.

use crate::helpers::wire;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::helpers::wire::Answer;
use axum::Router;
use tokio::net::TcpListener;
use tower_health::{
    Access, Dependency, Failure, Format, Health, HealthLayer, Outcome, Probe, Reason,
};

async fn serve(layer: HealthLayer) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    let app = Router::new().layer(layer);
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// `ping`, and `bad` where that is asked for, in the group `grp`.
fn health(bad: bool) -> Health {
    let mut builder = Health::builder().check("ping", async || Ok(Outcome::up()));
    if bad {
        let fails = async || Err(Failure::new(Reason::Failed).message("this will fail"));
        builder = builder.add(Dependency::new("bad", fails).group("grp"));
    }
    let health = builder.build();
    health.set_started();
    health
}

/// kube-apiserver's own table, with our code for its 500 and our reason where it withholds its own.
#[tokio::test]
async fn what_kube_apiserver_answers_is_answered_here() {
    let failing = "[+]ping ok\n[-]bad failed: failed: this will fail\nNAME check failed\n";
    let table = [
        ("", false, 200, "ok"),
        ("/ping", false, 200, "ok"),
        ("/ping", true, 200, "ok"),
        ("?verbose", false, 200, "[+]ping ok\nNAME check passed\n"),
        ("?exclude=dontexist", false, 200, "ok"),
        ("?exclude=bad", true, 200, "ok"),
        ("?exclude=grp", true, 200, "ok"),
        (
            "?verbose=true&exclude=bad",
            true,
            200,
            "[+]ping ok\n[+]bad excluded: ok\nNAME check passed\n",
        ),
        (
            "?verbose=true&exclude=grp",
            true,
            200,
            "[+]ping ok\n[+]bad excluded with grp: ok\nNAME check passed\n",
        ),
        (
            "?verbose=true&exclude=dontexist",
            false,
            200,
            "[+]ping ok\nwarn: some health checks cannot be excluded: no matches for \
             \"dontexist\"\nNAME check passed\n",
        ),
        ("?verbose", true, 503, failing),
        ("", true, 503, failing),
        (
            "?exclude=ping",
            true,
            503,
            "[+]ping excluded: ok\n[-]bad failed: failed: this will fail\nNAME check failed\n",
        ),
        (
            "/bad",
            true,
            503,
            "internal server error: failed: this will fail\n",
        ),
    ];
    for bad in [false, true] {
        let layer = HealthLayer::new(health(bad))
            .details(Access::everybody())
            .format(Format::text())
            .path("/internal/ready", Probe::Readiness);
        let address = serve(layer).await;
        for name in ["readyz", "health", "internal/ready"] {
            for (suffix, _, code, body) in table.iter().filter(|row| row.1 == bad) {
                let answer = wire::get(address, &format!("/{name}{suffix}")).await;
                let body = body.replace("NAME", name);
                assert_eq!(
                    (answer.code, &answer.body),
                    (*code, &body),
                    "{name}{suffix}"
                );
                assert_eq!(
                    answer.header("content-type"),
                    Some("text/plain; charset=utf-8")
                );
                assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
            }
        }
    }
}

#[tokio::test]
async fn a_probe_without_checks_has_a_ping() {
    let health = Health::builder().build();
    let layer = HealthLayer::new(health)
        .details(Access::everybody())
        .format(Format::text());
    let address = serve(layer).await;
    let answer = wire::get(address, "/livez?verbose").await;
    assert_eq!(answer.body, "[+]ping ok\nlivez check passed\n");
}

#[tokio::test]
async fn readiness_leaves_out_in_every_form_and_other_probes_in_text_alone() {
    let layer = HealthLayer::new(health(true)).details(Access::everybody());
    let address = serve(layer).await;
    let ready = wire::get(address, "/readyz?exclude=bad").await;
    assert_eq!(ready.code, 200);
    assert!(
        ready.body.starts_with(r#"{"status":"up","#),
        "{}",
        ready.body
    );
    let left_out = r#""bad":{"status":"unknown","required":true,"excluded":true"#;
    assert!(ready.body.contains(left_out), "{}", ready.body);
    // `/health` in native JSON may have a meaning of its own for what stands in its query.
    assert_eq!(wire::get(address, "/health?exclude=bad").await.code, 503);
    // Nothing of that is kept for those who ask plainly.
    assert_eq!(wire::get(address, "/readyz").await.code, 503);
}

#[tokio::test]
async fn what_is_left_out_is_not_asked() {
    let asked: [Arc<AtomicUsize>; 2] = Default::default();
    let [one, other] = asked.clone().map(|asked| {
        move || {
            asked.fetch_add(1, Ordering::Relaxed);
            async { Ok(Outcome::up()) }
        }
    });
    let health = Health::builder()
        .check("one", one)
        .check("other", other)
        .build();
    let layer = HealthLayer::new(health).details(Access::everybody());
    let address = serve(layer).await;
    let counts = || asked.each_ref().map(|asked| asked.load(Ordering::Relaxed));
    wire::get(address, "/readyz?exclude=other").await;
    assert_eq!(counts(), [1, 0]);
    wire::get(address, "/readyz").await;
    assert_eq!(counts()[1], 1);
}

#[tokio::test]
async fn an_unauthorized_caller_cannot_leave_anything_out_or_have_it_spelt_out() {
    for accept in [Format::json(), Format::text()] {
        let layer = HealthLayer::new(health(true)).format(accept);
        let address = serve(layer).await;
        let plain = wire::get(address, "/readyz").await;
        assert_eq!(plain.code, 503);
        for query in [
            "exclude=bad",
            "exclude=grp",
            "verbose",
            "verbose&exclude=bad",
            "exclude=x",
        ] {
            let answer: Answer = wire::get(address, &format!("/readyz?{query}")).await;
            assert_eq!(answer, plain, "{query}");
        }
    }
}

#[tokio::test]
async fn a_query_is_bounded_and_what_it_cannot_say_counts() {
    let layer = HealthLayer::new(health(true))
        .details(Access::everybody())
        .format(Format::text());
    let address = serve(layer).await;
    let many = "exclude=x&".repeat(1_000);
    let bounded = format!("/readyz?{many}exclude=bad");
    assert_eq!(wire::get(address, &bounded).await.code, 503);
    for query in [
        "exclude=%62ad",
        "exclude=bad&exclude=bad",
        "a=b&exclude=bad&verbose",
    ] {
        let answer = wire::get(address, &format!("/readyz?{query}")).await;
        assert_eq!(answer.code, 200, "{query}");
    }
    for query in [
        "exclude=BAD",
        "Exclude=bad",
        "exclude=bad%20",
        "exclude=%ff",
        "exclude=bad,ping",
    ] {
        let answer = wire::get(address, &format!("/readyz?{query}")).await;
        assert_eq!(answer.code, 503, "{query}");
    }
}

#[tokio::test]
async fn a_drain_is_not_left_out() {
    let health = health(true);
    health.set_draining(true);
    let layer = HealthLayer::new(health)
        .details(Access::everybody())
        .format(Format::text());
    let address = serve(layer).await;
    let answer = wire::get(address, "/readyz?exclude=bad&exclude=lifecycle").await;
    assert_eq!(answer.code, 503);
    assert!(
        answer.body.contains("[-]lifecycle failed: draining\n"),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn a_run_that_hangs_is_left_out_at_once() {
    let health = Health::builder()
        .check("ping", async || Ok(Outcome::up()))
        .add(
            Dependency::new("hangs", async || {
                std::future::pending::<()>().await;
                Ok(Outcome::up())
            })
            .timeout(Duration::from_secs(3_600)),
        )
        .answer_within(Duration::from_secs(3_600))
        .build();
    health.set_started();
    let layer = HealthLayer::new(health).details(Access::everybody());
    let address = serve(layer).await;
    // The wire gives up after 30 s.
    assert_eq!(wire::get(address, "/readyz?exclude=hangs").await.code, 200);
}

//! `examples/all_backends/` over real servers that are killed, frozen and protected by a password.

use std::fs;

use serde_json::Value;

use crate::{
    app::{App, PASSWORD, refused},
    helpers::peers::health_of,
    support::{MAXIMUM_WAIT, Postgres, Redis, wait_until},
};

const NAME: &str = "all_backends";

/// Starts the app, and waits for the plug-in, which is added after the app is served.
async fn start(variables: &[(&str, &str)]) -> App {
    let app = App::start(NAME, variables).await;
    wait_until("the plug-in is added", MAXIMUM_WAIT, async || {
        app.json("/health").await.1["checks"]["storage.default"] == "UP"
    })
    .await;
    app
}

/// Asserts that these checks are down, each for its reason, and that all others are up.
fn assert_down(body: &Value, down: &[(&str, &str)]) {
    assert_eq!(body["status"], "DOWN");
    for (check, word) in body["checks"].as_object().expect("an object") {
        let is_down = down.iter().any(|(name, _)| check == name);
        assert_eq!(word, if is_down { "DOWN" } else { "UP" }, "{body}");
    }
    let errors = body["errors"].as_object().expect("an object");
    assert_eq!(errors.len(), down.len(), "{body}");
    for (name, reason) in down {
        let error = errors[*name].as_str().expect("text");
        assert!(error.starts_with(reason), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_configured_backend_and_the_plug_in_are_checked() {
    let (first, second) = (Postgres::start().await, Postgres::start().await);
    let (mut cache, sessions) = (Redis::start().await, Redis::start().await);
    let storage = cache.directory().join("storage");
    fs::create_dir(&storage).expect("created");
    let mut app = start(&[
        ("DATABASE_URL_REPORTS", &second.url()),
        ("DATABASE_URL", &first.url()),
        ("REDIS_URL_SESSIONS", &sessions.url()),
        ("REDIS_URL", &cache.url()),
        ("REDIS_URL_UNUSED", ""),
        ("STORAGE_DIR", storage.to_str().expect("text")),
    ])
    .await;
    // As bytes: the order is part of the contract.
    let checks = r#""database.default":"UP","database.reports":"UP","cache.default":"UP","cache.sessions":"UP","storage.default":"UP""#;
    let up = format!(r#"{{"status":"UP","checks":{{{checks}}},"errors":{{}}}}"#);
    app.shows("/health", 200, &up).await;

    cache.kill();
    // The first request reports it: no earlier result is returned.
    let (code, body) = app.json("/health").await;
    assert_eq!(code, 503);
    assert_down(&body, &[("cache.default", "refused")]);
    let transition = r#"dependency="cache.default" from=up to=down"#;
    let line = app.program.says(transition).await;
    assert!(line.contains("WARN") && line.contains("refused"), "{line}");
    cache.restart().await;
    app.becomes("/health", 200).await;

    second.freeze();
    app.becomes("/health", 503).await;
    assert_down(
        &app.json("/health").await.1,
        &[("database.reports", "timeout")],
    );
    second.thaw();
    app.becomes("/health", 200).await;

    fs::remove_dir(&storage).expect("the check has left nothing in it");
    app.becomes("/health", 503).await;
    assert_down(&app.json("/health").await.1, &[("storage.default", "")]);
    fs::create_dir(&storage).expect("created");
    app.becomes("/health", 200).await;
    app.drains("/health", 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_login_and_a_rejected_write_are_down() {
    let postgres = Postgres::builder().password(PASSWORD).start().await;
    let redis = Redis::builder().password(PASSWORD).start().await;
    // A replica answers `PING` and rejects writes.
    let replica = Redis::builder().config_line("replicaof 127.0.0.1 1");
    let replica = replica.start().await;
    let wrong = |url: String| url.replace(PASSWORD, "not-hunter2");
    let app = start(&[
        ("DATABASE_URL", &postgres.url()),
        ("DATABASE_URL_WRONG", &wrong(postgres.url())),
        ("REDIS_URL", &redis.url()),
        ("REDIS_URL_WRONG", &wrong(redis.url())),
        ("REDIS_URL_REPLICA", &replica.url()),
    ])
    .await;
    let down = [
        ("database.wrong", "auth"),
        ("cache.wrong", "auth"),
        ("cache.replica", "read_only"),
    ];
    assert_down(&app.json("/health").await.1, &down);
    app.drains("/health", 503).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_named_networks_may_probe() {
    // Invalid ones are ignored; a network with bits below its prefix is invalid.
    let networks = "localhost 127.0.0.1/8,10.0.0.0/8, 127.0.0.2/31,127.0.0.9";
    let mut app = App::start(NAME, &[("HEALTHCHECK_IPS", networks)]).await;
    for (peer, code) in [("127.0.0.3", 200), ("127.0.0.9", 200), ("127.0.0.1", 403)] {
        let (found, body) = health_of(app.address, peer, &[]).await;
        assert_eq!(
            (found.as_u16(), body.is_empty()),
            (code, code == 403),
            "{peer}"
        );
    }
    for invalid in ["\"localhost\"", "\"127.0.0.1/8\""] {
        let line = app.program.says(invalid).await;
        assert!(line.contains("ERROR") && line.contains("HEALTHCHECK_IPS"));
    }
    let app = App::start(NAME, &[]).await;
    let forwarded = [("x-forwarded-for", "127.0.0.1")];
    for (headers, code) in [(&[][..], 200), (&forwarded, 403)] {
        assert_eq!(health_of(app.address, "127.0.0.2", headers).await.0, code);
    }
    // The app itself is public.
    assert_eq!(app.get("/").await.0, 200);
}

#[test]
fn a_malformed_url_is_refused_without_its_content() {
    let postgres = " is not the URL of a Postgres database";
    let redis = " is not the URL of a Redis server";
    let slash = ": dependency name \"cache.b/c\" contains a slash, which separates path segments";
    for (name, url, why) in [
        ("DATABASE_URL", "postgres://u:hunter2@h:p/private", postgres),
        ("DATABASE_URL_A", "hunter2", postgres),
        ("REDIS_URL", "http://u:hunter2@h", redis),
        ("REDIS_URL_B", "redis://:hunter2@h/private", redis),
        ("REDIS_URL_B/C", "redis://:hunter2@127.0.0.1", slash),
    ] {
        // The whole text: nothing of the URL is in it.
        assert_eq!(refused(NAME, &[(name, url)]), format!("{name}{why}\n"));
    }
}

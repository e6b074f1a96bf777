//! `examples/all_backends/` over real servers that are killed, frozen and protected by a password.

use std::{fs, process::Command};

use serde_json::{Value, json};
use tokio::task::block_in_place;

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

/// Asserts that the check called so is down for this reason, and that all others are up.
fn assert_down(body: &Value, name: &str, reason: &str) {
    assert_eq!(body["status"], "DOWN");
    for (check, word) in body["checks"].as_object().expect("an object") {
        assert_eq!(word, if check == name { "DOWN" } else { "UP" }, "{body}");
    }
    let errors = body["errors"].as_object().expect("an object");
    assert_eq!(errors.len(), 1, "{body}");
    let error = errors[name].as_str().expect("text");
    assert!(error.starts_with(reason), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_configured_backend_and_the_plug_in_are_checked() {
    let (first, second) = (Postgres::start().await, Postgres::start().await);
    let (mut cache, sessions) = (Redis::start().await, Redis::start().await);
    let mut app = start(&[
        ("DATABASE_URL_REPORTS", &second.url()),
        ("DATABASE_URL", &first.url()),
        ("REDIS_URL_SESSIONS", &sessions.url()),
        ("REDIS_URL", &cache.url()),
        ("REDIS_URL_UNUSED", ""),
    ])
    .await;
    // As bytes: the order is part of the contract.
    let checks = r#""database.default":"UP","database.reports":"UP","cache.default":"UP","cache.sessions":"UP","storage.default":"UP""#;
    let up = format!(r#"{{"status":"UP","checks":{{{checks}}},"errors":{{}}}}"#);
    assert_eq!(app.becomes("/health", 200).await, up);

    cache.kill();
    // The first request reports it: no earlier result is returned.
    let (code, body) = app.json("/health").await;
    assert_eq!(code, 503);
    assert_down(&body, "cache.default", "refused");
    let transition = r#"dependency="cache.default" from=up to=down"#;
    let line = app.program.says(transition).await;
    assert!(line.contains("WARN") && line.contains("refused"), "{line}");
    cache.restart().await;
    app.becomes("/health", 200).await;

    second.freeze();
    let body = app.becomes_json("/health", 503).await;
    assert_down(&body, "database.reports", "timeout");
    second.thaw();
    app.becomes("/health", 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_used_and_never_shown() {
    let postgres = Postgres::builder().password(PASSWORD).start().await;
    let redis = Redis::builder().password(PASSWORD).start().await;
    let wrong = |url: String| url.replace(PASSWORD, "letmein1");
    let app = start(&[
        ("DATABASE_URL", &postgres.url()),
        ("DATABASE_URL_WRONG", &wrong(postgres.url())),
        ("REDIS_URL", &redis.url()),
        ("REDIS_URL_WRONG", &wrong(redis.url())),
    ])
    .await;
    let (code, body) = app.json("/health").await;
    assert_eq!(code, 503);
    for backend in ["database", "cache"] {
        let [right, wrong] = ["default", "wrong"].map(|name| format!("{backend}.{name}"));
        assert_eq!(body["checks"][right], "UP", "{body}");
        assert_eq!(body["checks"][&wrong], "DOWN", "{body}");
        let error = body["errors"][wrong].as_str().expect("text");
        assert!(error.starts_with("auth"), "{error}");
    }
    app.assert_no_password_is_logged();
    let all = format!("{body}{}", app.program.log());
    assert!(!all.contains("letmein1"), "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_must_keep_what_is_written() {
    // A replica answers `PING` and rejects writes.
    let replica = Redis::builder().config_line("replicaof 127.0.0.1 1");
    let replica = replica.start().await;
    let app = start(&[("REDIS_URL", &replica.url())]).await;
    assert_down(&app.json("/health").await.1, "cache.default", "read_only");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_named_networks_may_probe() {
    for (networks, peer, headers, code) in [
        ("", "127.0.0.1", &[][..], 200),
        ("", "127.0.0.2", &[], 200),
        ("", "127.0.0.1", &[("x-forwarded-for", "127.0.0.1")], 403),
        ("127.0.0.1, 10.0.0.0/8", "127.0.0.1", &[], 200),
        ("127.0.0.1, 10.0.0.0/8", "127.0.0.2", &[], 403),
        ("10.0.0.0/8,127.0.0.2/31", "127.0.0.1", &[], 403),
        ("10.0.0.0/8,127.0.0.2/31", "127.0.0.2", &[], 200),
        // An invalid network is ignored; one with bits below its prefix is invalid.
        ("127.0.0.0/33 localhost,127.0.0.1", "127.0.0.1", &[], 200),
        ("127.0.0.1/8", "127.0.0.1", &[], 403),
    ] {
        let variables = [("HEALTHCHECK_IPS", networks)];
        // Not set is another case than empty.
        let set = usize::from(!networks.is_empty());
        let mut app = App::start(NAME, &variables[..set]).await;
        let (found, body) = health_of(app.address, peer, headers).await;
        assert_eq!(found, code, "{peer} in {networks:?}");
        assert_eq!(body.is_empty(), code == 403, "{body}");
        // The app itself is public.
        assert_eq!(app.get("/").await.0, 200);
        for invalid in ["127.0.0.0/33", "localhost", "127.0.0.1/8"] {
            if networks.contains(invalid) {
                let line = app.program.says(&format!("{invalid:?}")).await;
                assert!(line.contains("ERROR") && line.contains("HEALTHCHECK_IPS"));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_gone_or_hangs_is_down() {
    let redis = Redis::start().await;
    let directory = redis.directory().join("storage");
    fs::create_dir(&directory).expect("created");
    let app = start(&[("STORAGE_DIR", directory.to_str().expect("text"))]).await;
    fs::remove_dir(&directory).expect("nothing was left in it");
    let down = app.becomes_json("/health", 503).await;
    assert_eq!(down["checks"], json!({"storage.default": "DOWN"}));
    assert!(down["errors"]["storage.default"].is_string(), "{down}");
    fs::create_dir(&directory).expect("created");
    app.becomes("/health", 200).await;

    // A FIFO: opening it for writing waits for a reader.
    let file = directory.join(format!("health-{}", app.program.id().expect("it runs")));
    let made = Command::new("mkfifo").arg(&file).status();
    assert!(made.expect("mkfifo starts").success());
    app.becomes("/health", 503).await;
    wait_until("no second write begins", MAXIMUM_WAIT, async || {
        let (code, body) = app.json("/health").await;
        assert_eq!(code, 503);
        let error = body["errors"]["storage.default"].to_string();
        error.contains("stuck")
    })
    .await;
    block_in_place(|| {
        assert_eq!(fs::read(&file).expect("what the check wrote"), b"health");
        fs::write(&file, "").expect("an end for what the check reads");
    });
    app.becomes("/health", 200).await;
}

#[test]
fn a_malformed_url_is_refused_without_its_content() {
    let postgres = " is not the URL of a Postgres database";
    let redis = " is not the URL of a Redis server";
    let slash = ": dependency name \"cache.b/c\" contains a slash, which separates path segments";
    for (name, url, why) in [
        ("DATABASE_URL", "postgres:/u:hunter2@h", postgres),
        ("DATABASE_URL_A", "hunter2", postgres),
        ("DATABASE_URL", "postgres://u:hunter2@h:p/private", postgres),
        (
            "DATABASE_URL",
            "postgres://u:hunter2@h/d?sslrootcert=/private/ca.pem",
            postgres,
        ),
        ("REDIS_URL", "http://u:hunter2@h", redis),
        ("REDIS_URL_B", "redis://:hunter2@h/private", redis),
        ("REDIS_URL", "file:///private/hunter2", redis),
        ("REDIS_URL_B/C", "redis://:hunter2@127.0.0.1", slash),
    ] {
        // The whole text: nothing of the URL is in it.
        assert_eq!(refused(NAME, &[(name, url)]), format!("{name}{why}\n"));
    }
}

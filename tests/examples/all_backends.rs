//! `examples/all_backends/` over real servers that are killed, frozen and protected by a password.

use std::{fs, process::Command};

use crate::support::{
    MAXIMUM_WAIT, Postgres, Program, Redis, ask, becomes, get, get_from, run_example, wait_until,
};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::task::block_in_place;

const NAME: &str = "all_backends";
const DOWN: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

struct App {
    program: Program,
    url: String,
}

impl App {
    async fn start(variables: &[(&str, &str)]) -> Self {
        let mut all = vec![("ADDR", "127.0.0.1:0")];
        all.extend(variables);
        let mut program = Program::example(NAME, &all);
        let url = program.says("/health").await;
        Self { program, url }
    }

    async fn health(&self) -> (StatusCode, Value) {
        let (code, body) = get(&self.url).await;
        (code, serde_json::from_str(&body).expect("JSON"))
    }

    /// Waits for the plug-in, which is added after the app is served.
    async fn is_complete(&self) {
        wait_until("the plug-in is added", MAXIMUM_WAIT, async || {
            self.health().await.1["checks"]["storage.default"] == "UP"
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_configured_backend_and_the_plug_in_are_checked() {
    let (first, second) = (Postgres::start().await, Postgres::start().await);
    let (mut cache, sessions) = (Redis::start().await, Redis::start().await);
    let mut app = App::start(&[
        ("DATABASE_URL_REPORTS", &second.url()),
        ("DATABASE_URL", &first.url()),
        ("REDIS_URL_SESSIONS", &sessions.url()),
        ("REDIS_URL", &cache.url()),
        ("REDIS_URL_UNUSED", ""),
    ])
    .await;
    app.is_complete().await;
    // As bytes: the order is part of the contract.
    let body = becomes(&app.url, StatusCode::OK).await;
    let checks = r#""database.default":"UP","database.reports":"UP","cache.default":"UP","cache.sessions":"UP","storage.default":"UP""#;
    assert_eq!(
        body,
        format!(r#"{{"status":"UP","checks":{{{checks}}},"errors":{{}}}}"#)
    );

    cache.kill();
    // The first request reports it: no earlier result is returned.
    let (code, body) = app.health().await;
    assert_eq!((code, &body["status"]), (DOWN, &json!("DOWN")));
    let up_but = |down: &str| {
        let names = [
            "database.default",
            "database.reports",
            "cache.default",
            "cache.sessions",
        ];
        let names = names.into_iter().chain(["storage.default"]);
        names
            .map(|name| {
                (
                    name.to_owned(),
                    json!(if name == down { "DOWN" } else { "UP" }),
                )
            })
            .collect::<serde_json::Map<_, _>>()
    };
    assert_eq!(body["checks"], Value::Object(up_but("cache.default")));
    let errors = body["errors"].as_object().expect("an object");
    assert_eq!(errors.len(), 1, "{errors:?}");
    let error = errors["cache.default"].as_str().expect("text");
    assert!(error.starts_with("refused"), "{error}");
    let line = app
        .program
        .says(r#"dependency="cache.default" from=up to=down"#)
        .await;
    assert!(line.contains("WARN") && line.contains("refused"), "{line}");
    cache.restart().await;
    becomes(&app.url, StatusCode::OK).await;

    second.freeze();
    let body = becomes(&app.url, DOWN).await;
    let body: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(body["checks"], Value::Object(up_but("database.reports")));
    let error = body["errors"]["database.reports"].as_str().expect("text");
    assert!(error.starts_with("timeout"), "{error}");
    second.thaw();
    becomes(&app.url, StatusCode::OK).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_used_and_never_shown() {
    let postgres = Postgres::builder().password("hunter2").start().await;
    let redis = Redis::builder().password("hunter2").start().await;
    let (right, wrong) = ([postgres.url(), redis.url()], |url: String| {
        url.replace("hunter2", "letmein1")
    });
    let app = App::start(&[
        ("DATABASE_URL", &right[0]),
        ("DATABASE_URL_WRONG", &wrong(postgres.url())),
        ("REDIS_URL", &right[1]),
        ("REDIS_URL_WRONG", &wrong(redis.url())),
    ])
    .await;
    app.is_complete().await;
    let (code, body) = app.health().await;
    assert_eq!(code, DOWN);
    for (name, word) in [
        ("database.default", "UP"),
        ("database.wrong", "DOWN"),
        ("cache.default", "UP"),
        ("cache.wrong", "DOWN"),
    ] {
        assert_eq!(body["checks"][name], word, "{name} in {body}");
    }
    for name in ["database.wrong", "cache.wrong"] {
        let error = body["errors"][name].as_str().expect("text");
        assert!(error.starts_with("auth"), "{error}");
    }
    let all = format!("{body}{}", app.program.log());
    assert!(
        !all.contains("hunter2") && !all.contains("letmein1"),
        "{all}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_must_keep_what_is_written() {
    // A replica answers `PING` and rejects writes.
    let replica = Redis::builder()
        .config_line("replicaof 127.0.0.1 1")
        .start()
        .await;
    let app = App::start(&[("REDIS_URL", &replica.url())]).await;
    let (code, body) = app.health().await;
    assert_eq!(
        (code, &body["checks"]["cache.default"]),
        (DOWN, &json!("DOWN"))
    );
    let error = body["errors"]["cache.default"].as_str().expect("text");
    assert!(error.starts_with("read_only"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_named_networks_may_probe() {
    let forbidden = (StatusCode::FORBIDDEN, String::new());
    let [this, other] = ["127.0.0.1", "127.0.0.2"].map(|ip| ip.parse().expect("an address"));

    let app = App::start(&[]).await;
    assert_eq!(get_from(this, &app.url).await.0, StatusCode::OK);
    assert_eq!(get_from(other, &app.url).await.0, StatusCode::OK);
    let request = Request::get(&app.url).header("x-forwarded-for", "127.0.0.1");
    let request = request.body(Full::<Bytes>::default()).expect("valid");
    assert_eq!(ask(request, None).await, forbidden, "a proxy's client");

    let app = App::start(&[("HEALTHCHECK_IPS", "127.0.0.1, 10.0.0.0/8")]).await;
    assert_eq!(get_from(this, &app.url).await.0, StatusCode::OK);
    assert_eq!(get_from(other, &app.url).await, forbidden);
    let app = App::start(&[("HEALTHCHECK_IPS", "10.0.0.0/8,127.0.0.2/31")]).await;
    assert_eq!(get_from(this, &app.url).await, forbidden);
    assert_eq!(get_from(other, &app.url).await.0, StatusCode::OK);
    // The app itself is public.
    let index = app.url.trim_end_matches("health");
    assert_eq!(get_from(this, index).await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_network_is_logged_and_ignored() {
    let this = "127.0.0.1".parse().expect("an address");
    let mut app = App::start(&[("HEALTHCHECK_IPS", "127.0.0.0/33 localhost,127.0.0.1")]).await;
    for entry in ["127.0.0.0/33", "localhost"] {
        let line = app.program.says(&format!("{entry:?}")).await;
        assert!(
            line.contains("ERROR") && line.contains("HEALTHCHECK_IPS"),
            "{line}"
        );
    }
    assert_eq!(get_from(this, &app.url).await.0, StatusCode::OK);
    let app = App::start(&[("HEALTHCHECK_IPS", "127.0.0.1/8")]).await;
    let none = (StatusCode::FORBIDDEN, String::new());
    assert_eq!(get_from(this, &app.url).await, none);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plug_ins_check_counts() {
    let redis = Redis::start().await;
    let directory = redis.directory().join("storage");
    fs::create_dir(&directory).expect("created");
    let path = directory.to_str().expect("text");
    let app = App::start(&[("STORAGE_DIR", path)]).await;
    app.is_complete().await;
    fs::remove_dir(&directory).expect("nothing was left in it");
    let down = becomes(&app.url, DOWN).await;
    let down: Value = serde_json::from_str(&down).expect("JSON");
    assert_eq!(down["checks"]["storage.default"], "DOWN");
    assert!(down["errors"]["storage.default"].is_string(), "{down}");
    fs::create_dir(&directory).expect("created");
    becomes(&app.url, StatusCode::OK).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_hangs_is_down_without_a_second_write() {
    let redis = Redis::start().await;
    let directory = redis.directory().join("storage");
    fs::create_dir(&directory).expect("created");
    let app = App::start(&[("STORAGE_DIR", directory.to_str().expect("text"))]).await;
    app.is_complete().await;
    // A FIFO: opening it for writing waits for a reader.
    let file = directory.join(format!("health-{}", app.program.id().expect("it runs")));
    let made = Command::new("mkfifo").arg(&file).status();
    assert!(made.expect("mkfifo starts").success());
    becomes(&app.url, DOWN).await;
    wait_until("no second write begins", MAXIMUM_WAIT, async || {
        let (code, body) = app.health().await;
        assert_eq!(code, DOWN);
        let error = body["errors"]["storage.default"].to_string();
        error.contains("stuck")
    })
    .await;
    block_in_place(|| {
        assert_eq!(fs::read(&file).expect("what the check wrote"), b"health");
        fs::write(&file, "").expect("an end for what the check reads");
    });
    becomes(&app.url, StatusCode::OK).await;
}

#[test]
fn a_malformed_url_is_refused_without_its_content() {
    let postgres = " is not the URL of a Postgres database";
    let redis = " is not the URL of a Redis server";
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
        (
            "REDIS_URL_B/C",
            "redis://:hunter2@127.0.0.1",
            ": dependency name \"cache.b/c\" contains a slash, \
             which separates path segments",
        ),
    ] {
        let ended = run_example(NAME, &[("ADDR", "127.0.0.1:0"), (name, url)], &[]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert_eq!(ended.stderr, format!("{name}{why}\n"), "{url}");
        for part in ["hunter2", "private", "os error"] {
            assert!(!format!("{ended:?}").contains(part), "{part} in {ended:?}");
        }
    }
}

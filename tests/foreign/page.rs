//! The page in a real browser, while what it shows goes down and comes back.

use std::{process::Command, time::Duration};

use crate::helpers::browser::{Browser, Site, sample};
use crate::support::{Mode, Postgres, Program, Proxy, Redis, example, wait_until};
use tower_health::{Access, Dependency, Format, Health, HealthLayer, Outcome, Probe, checks};

const SOON: Duration = Duration::from_secs(60);

/// The state of the row called so.
fn row(name: &str, status: &str) -> String {
    format!(
        "document.querySelector('[data-name=\"{name}\"]')?.dataset.status === '{status}' \
         && document.querySelector('[data-name=\"{name}\"] .word').textContent.toLowerCase() === '{status}'"
    )
}

/// The state of the whole.
fn is(word: &str) -> String {
    format!("document.getElementById('whole').textContent === '{word}'")
}

#[tokio::test]
async fn a_frozen_postgres_shows_and_so_does_its_return() {
    let postgres = Postgres::start().await;
    let redis = Redis::start().await;
    let health = Health::builder()
        .check("database", checks::postgres(postgres.pool(4)))
        .check("cache", checks::redis(redis.pool(4)))
        .info("version", "2.0.0")
        .build();
    health.report().await;
    let site = Site::open(&health).await;
    let mut browser = Browser::launch().await;
    browser.open_live(&site.url("/health")).await;
    browser.settled(&is("Up")).await;
    assert_eq!(browser.text("#summary").await, "Both dependencies are up.");
    let pool = browser.text("#d0 .pool p").await;
    assert!(pool.contains(" idle · max 4"), "{pool}");
    browser.evaluate("window.same = true").await;

    postgres.freeze();
    browser.settled(&row("database", "down")).await;
    assert_eq!(browser.text("h1").await, "Down");
    assert_eq!(
        browser.text("#summary").await,
        "database is down; 1 of 2 up."
    );
    let why = browser.text("#d0 .why").await;
    assert!(why.contains("timeout") && why.contains("Look for"), "{why}");
    assert!(browser.text("#d0 .since").await.starts_with("since "));
    let said = browser.text("#said").await;
    assert!(said.contains("Health is down. database is down."), "{said}");
    let marks = "document.querySelector('#d0 .chart .down').getAttribute('d')";
    assert_ne!(browser.evaluate(marks).await, "");
    let titled = "document.title.startsWith('Down · ')";
    assert_eq!(browser.evaluate(titled).await, true);
    browser.settled(&row("cache", "up")).await;

    postgres.thaw();
    browser.settled(&row("database", "up")).await;
    browser.settled(&is("Up")).await;
    assert_eq!(browser.evaluate("window.same").await, true, "reloaded");
    assert_eq!(browser.complaints(), Vec::<String>::new());
    for address in browser.requests() {
        assert_eq!(address, site.url("/health"));
    }
}

#[tokio::test]
async fn without_scripts_it_is_whole_and_reloads_itself() {
    let health = sample::degraded();
    health.report().await;
    let site = Site::open(&health).await;
    let mut browser = Browser::launch().await;
    browser.without_scripts().await;
    browser.open(&site.url("/health")).await;
    assert_eq!(browser.text("h1").await, "Degraded");
    assert!(browser.text("#d3 .why").await.contains("behind"));
    assert!(browser.text(".bar").await.contains("reloads every 5 s"));
    assert!(browser.text("#live").await.starts_with("As of "));
    wait_until("it has reloaded twice", SOON, async || {
        browser.settled("document.readyState === 'complete'").await;
        browser.requests().len() > 2
    })
    .await;
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn it_says_since_when_nobody_answers() {
    let health = sample::up();
    let site = Site::open(&health).await;
    let proxy = Proxy::start(site.port()).await;
    let mut browser = Browser::launch().await;
    let url = format!("http://127.0.0.1:{}/health", proxy.port());
    browser.open_live(&url).await;
    let is_lost = "!document.getElementById('lost').hidden";
    assert_eq!(browser.evaluate(is_lost).await, false);

    proxy.set(Mode::Refuse).await;
    browser.settled(is_lost).await;
    let lost = browser.text("#lost").await;
    assert!(lost.starts_with("Connection lost since "), "{lost}");
    assert!(browser.text("#live").await.starts_with("No answer"));
    assert_eq!(browser.text("h1").await, "Up");

    proxy.set(Mode::Pass).await;
    browser.settled(&format!("!({is_lost})")).await;
    assert_eq!(browser.text("#said").await, "Connected again.");
}

#[tokio::test]
async fn a_dependency_that_comes_or_goes_has_its_row() {
    let health = sample::up();
    let site = Site::open(&health).await;
    let mut browser = Browser::launch().await;
    browser.open_live(&site.url("/health")).await;
    let search = Dependency::new("search", async || Ok(Outcome::up()));
    health.add(search.optional()).expect("a new name");
    browser.settled(&row("search", "up")).await;
    assert_eq!(browser.text("#d2 h2").await, "search");
    assert_eq!(browser.text("#d2 .kind").await, "optional");
    assert_eq!(
        browser
            .evaluate("document.querySelector('#d2 .pool').hidden")
            .await,
        true
    );
    assert!(health.remove("cache"));
    browser
        .settled("document.querySelectorAll('.row').length === 2")
        .await;
    assert_eq!(browser.text("#d1 h2").await, "search");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// As where a replica answers that has no page.
#[tokio::test]
async fn a_row_that_comes_with_plain_json_has_no_past_of_anothers() {
    let health = sample::up();
    let site = Site::open(&health).await;
    let mut browser = Browser::launch().await;
    browser.open_live(&site.url("/health")).await;
    let plain = "const asked = fetch; \
        fetch = (path, how) => asked(path, {...how, headers: {accept: 'application/json'}}); 1";
    assert_eq!(browser.evaluate(plain).await, 1);
    let path = |row: &str| format!("document.querySelector('{row} .line').getAttribute('d')");
    assert_ne!(browser.evaluate(&path("#d0")).await, "");
    let search = Dependency::new("search", async || Ok(Outcome::up()));
    health.add(search.optional()).expect("a new name");
    browser.settled(&row("search", "up")).await;
    assert_eq!(browser.text("#d2 h2").await, "search");
    assert_eq!(browser.evaluate(&path("#d2")).await, "");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn it_asks_nobody_while_it_is_paused_or_hidden() {
    let health = sample::up();
    let site = Site::open(&health).await;
    let mut browser = Browser::launch().await;
    browser.open_live(&site.url("/readyz")).await;
    // From the keyboard, to which the button is the first stop.
    browser.press("Tab", 9, "").await;
    browser.press("Enter", 13, "\r").await;
    assert_eq!(browser.text("#pause").await, "Resume");
    assert!(browser.text("#live").await.starts_with("Paused"));
    health.set_draining(true);
    let two_turns = "new Promise((done) => setTimeout(done, 4500, true))";
    browser.settled(two_turns).await;
    assert_eq!(browser.text("h1").await, "Up");

    browser.press("Enter", 13, "\r").await;
    browser.settled(&is("Down")).await;
    let why = browser.text(".whole .why").await;
    assert!(why.starts_with("draining"), "{why}");

    let hidden = |yes: bool| {
        format!(
            "Object.defineProperty(document, 'hidden', {{value: {yes}, configurable: true}}); \
             document.dispatchEvent(new Event('visibilitychange'))"
        )
    };
    browser.evaluate(&hidden(true)).await;
    health.set_draining(false);
    browser.settled(two_turns).await;
    assert_eq!(browser.text("h1").await, "Down");
    browser.evaluate(&hidden(false)).await;
    browser.settled(&is("Up")).await;
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn a_stranger_sees_a_word_and_sees_it_change() {
    let health = sample::up();
    health.report().await;
    let site = Site::closed(&health).await;
    let mut browser = Browser::launch().await;
    browser.open_live(&site.url("/readyz")).await;
    assert_eq!(browser.text("main").await, "Up");
    let all = browser.evaluate("document.body.outerHTML").await;
    for secret in [
        "database", "cache", "postgres", "2.0.0", "region", "1 s", "max", "As of",
    ] {
        let all = all.as_str().expect("markup").split("<script").next();
        assert!(!all.is_some_and(|all| all.contains(secret)), "{secret}");
    }
    health.enter_maintenance("moving the disk");
    browser
        .settled("document.querySelector('main').innerText.trim() === 'Down'")
        .await;
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn a_path_that_has_no_other_form_lives_too() {
    let health = sample::up();
    health.report().await;
    let layer = HealthLayer::new(health.clone()).details(Access::everybody());
    let layer = layer.path_with_format("/status", Probe::Readiness, Format::html());
    let site = Site::of(layer).await;
    let mut browser = Browser::launch().await;
    browser.open_live(&site.url("/status")).await;
    health.enter_maintenance("moving the disk");
    browser
        .settled("document.getElementById('message').textContent === 'moving the disk'")
        .await;
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn the_quickstart_has_it() {
    let mut command = Command::new(example("quickstart"));
    command
        .env_remove("DATABASE_URL")
        .env_remove("REDIS_URL")
        .env("ADDR", "127.0.0.1:0");
    let program = Program::start("quickstart", &mut command);
    wait_until("it listens", SOON, async || {
        program.log().contains("/livez  liveness")
    })
    .await;
    let log = program.log();
    let base = log
        .split("/livez")
        .next()
        .and_then(|text| text.lines().last());
    let mut browser = Browser::launch().await;
    let url = format!("{}/health", base.expect("a URL"));
    browser.open_live(&url).await;
    browser.settled(&row("database", "up")).await;
    browser.settled(&row("cache", "up")).await;
    assert_eq!(browser.text(".info dd").await, env!("CARGO_PKG_VERSION"));
}

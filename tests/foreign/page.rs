//! The status page in a real browser: its script, live changes, the keyboard, and axe-core's rules.

use serde_json::json;
use tower_health::{Dependency, Health, Outcome, checks};

use crate::{
    helpers::browser::{Browser, Site, axe, sample},
    support::{MAXIMUM_WAIT, Mode, Postgres, Proxy, Redis, wait_until},
};

const IS_LOST: &str = "!document.getElementById('lost').hidden";

/// The row of dependency `name` has this status.
fn row(name: &str, status: &str) -> String {
    format!("document.querySelector('[data-name=\"{name}\"]')?.dataset.status === '{status}'")
}

/// The overall status.
fn is(word: &str) -> String {
    format!("document.getElementById('overall').textContent === '{word}'")
}

/// The app, and a browser that shows `path` of it.
async fn showing(health: &Health, path: &str) -> (Site, Browser) {
    health.report().await;
    let site = Site::open(health).await;
    let mut browser = Browser::launch().await;
    browser.open_live(&site.url(path)).await;
    (site, browser)
}

#[track_caller]
fn assert_no_complaints(browser: &Browser) {
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn an_outage_of_postgres_shows_and_so_does_its_end() {
    let postgres = Postgres::start().await;
    let redis = Redis::start().await;
    let health = Health::builder()
        .check("database", checks::postgres(postgres.pool(4)))
        .check("cache", checks::redis(redis.pool(4)))
        .build();
    let (site, mut browser) = showing(&health, "/health").await;
    browser.settled(&is("Up")).await;
    browser.evaluate("window.same = true").await;

    postgres.freeze();
    browser.settled(&row("database", "down")).await;
    assert_eq!(browser.text("h1").await, "Down");
    let announced = browser.text("#announcement").await;
    assert!(
        announced.contains("Health is down. database is down."),
        "{announced}"
    );
    let title = "document.title.startsWith('Down · ')";
    assert_eq!(browser.evaluate(title).await, true);
    let page = browser.text("main").await;
    for part in [
        "Out of rotation.",
        "database is down; 1 of 2 up.",
        "postgres · required",
        "timeout",
        "Check whether",
        "since ",
        "up until ",
        "timeout 800 ms · checked at most every 900 ms",
        " idle · max 4",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    browser.settled(&row("cache", "up")).await;

    postgres.thaw();
    browser.settled(&row("database", "up")).await;
    browser.settled(&is("Up")).await;
    health.enter_maintenance("moving the disk");
    let message = "document.getElementById('message')?.textContent === 'moving the disk'";
    browser.settled(message).await;
    assert_eq!(browser.text("#rotation").await, "Out of rotation.");
    assert_eq!(browser.evaluate("window.same").await, true, "reloaded");
    assert_no_complaints(&browser);
    for address in browser.requests() {
        assert_eq!(address, site.url("/health"));
    }
}

#[tokio::test]
async fn without_scripts_it_is_complete_and_reloads_itself() {
    let health = sample::degraded();
    health.report().await;
    let site = Site::open(&health).await;
    let mut browser = Browser::launch().await;
    browser.without_scripts().await;
    browser.open(&site.url("/health")).await;
    assert_eq!(browser.text("h1").await, "Degraded");
    let page = browser.text("main").await;
    assert!(
        page.contains("redis · optional") && page.contains("behind"),
        "{page}"
    );
    assert!(browser.text(".bar").await.contains("reloads every 5 s"));
    assert!(browser.text("#live").await.starts_with("As of "));
    wait_until("it has reloaded twice", MAXIMUM_WAIT, async || {
        // It only receives events: an expression cannot be evaluated during a reload.
        browser.call("Network.enable", json!({})).await;
        browser.requests().len() > 2
    })
    .await;
    assert_no_complaints(&browser);
}

#[tokio::test]
async fn a_changed_list_keeps_focus_scroll_and_open_details() {
    let health = sample::up();
    let (_site, mut browser) = showing(&health, "/health").await;
    browser.view("light", 390, 300).await;
    let opened = "document.querySelector('[data-name=cache] details').open = true; \
        document.querySelector('[data-name=cache] summary').focus(); scrollTo(0, 150); \
        window.old = document.getElementById('main'); scrollY";
    assert_eq!(browser.evaluate(opened).await, 150);
    // Before it in the list, so that its row moves.
    assert!(health.remove("database"));
    let search = Dependency::new("search", async || Ok(Outcome::up()));
    health.add(search).expect("a new name");
    browser.settled(&row("search", "up")).await;
    let kept = "document.activeElement === document.querySelector('#d0 summary') \
        && document.querySelector('#d0 details').open \
        && document.querySelectorAll('.row').length === 2 \
        && document.getElementById('main') !== window.old && scrollY === 150";
    assert_eq!(browser.evaluate(kept).await, true);
    assert_no_complaints(&browser);
}

#[tokio::test]
async fn nothing_is_fetched_while_it_is_paused_or_hidden() {
    let health = sample::up();
    let (_site, mut browser) = showing(&health, "/readyz").await;
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
    assert_no_complaints(&browser);
}

#[tokio::test]
async fn without_details_it_shows_the_current_status_only() {
    let health = sample::up();
    health.report().await;
    let site = Site::closed(&health).await;
    let mut browser = Browser::launch().await;
    browser.open_live(&site.url("/readyz")).await;
    health.enter_maintenance("moving the disk");
    browser.settled(&is("Down")).await;
    assert_eq!(browser.text("main").await, "Down");
    assert_no_complaints(&browser);
}

#[tokio::test]
async fn a_lost_connection_shows_until_it_is_back() {
    let health = sample::degraded();
    health.report().await;
    let site = Site::open(&health).await;
    let proxy = Proxy::start(site.port()).await;
    let mut browser = Browser::launch().await;
    let url = format!("http://127.0.0.1:{}/health", proxy.port());
    browser.open_live(&url).await;
    assert_eq!(browser.evaluate(IS_LOST).await, false);

    proxy.set(Mode::Refuse).await;
    browser.settled(IS_LOST).await;
    let lost = browser.text("#lost").await;
    assert!(lost.starts_with("Connection lost since "), "{lost}");
    assert!(browser.text("#live").await.starts_with("No answer"));
    assert_eq!(browser.text("h1").await, "Degraded");
    is_accessible(&mut browser, "lost").await;

    proxy.set(Mode::Pass).await;
    browser.settled(&format!("!({IS_LOST})")).await;
    assert_eq!(browser.text("#announcement").await, "Connected again.");
}

#[tokio::test]
async fn axe_finds_nothing_in_any_state_theme_or_width() {
    let maintained = sample::up();
    maintained.enter_maintenance("moving the disk");
    let mut browser = Browser::launch().await;
    for (health, path) in [
        (sample::up(), "/health"),
        (sample::degraded(), "/health"),
        (sample::down(), "/health"),
        (maintained.clone(), "/readyz"),
        (maintained.clone(), "/health/database"),
        (maintained, "closed"),
        (Health::builder().build(), "/health"),
    ] {
        health.report().await;
        let url = match path {
            "closed" => Site::closed(&health).await.url("/health"),
            path => Site::open(&health).await.url(path),
        };
        for (scheme, width) in [
            ("light", 1120),
            ("dark", 1120),
            ("light", 390),
            ("dark", 390),
        ] {
            let case = format!("{url} {scheme} {width}");
            browser.view(scheme, width, 800).await;
            browser.open_live(&url).await;
            is_accessible(&mut browser, &case).await;
            let wider = "document.documentElement.scrollWidth > innerWidth";
            assert_eq!(browser.evaluate(wider).await, false, "{case}");
        }
    }
}

/// Holds what the page shows now to the rules of axe. Those that it cannot decide count as broken.
async fn is_accessible(browser: &mut Browser, what: &str) {
    let opened = "document.querySelectorAll('details').forEach((one) => one.open = true)";
    browser.evaluate(opened).await;
    browser.evaluate(&axe()).await;
    let run = "axe.run().then(({violations, incomplete, passes}) => ({
      rules: passes.length,
      broken: [...violations, ...incomplete].map(({id, nodes}) => [id, ...nodes.map((node) => node.html)]),
    }))";
    let found = browser.evaluate(run).await;
    assert_eq!(found["broken"], json!([]), "{what}");
    assert!(found["rules"].as_u64() > Some(10), "{what}: {found}");
}

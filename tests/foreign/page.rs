//! The page in a real browser, while what it shows goes down and comes back.

use tower_health::{
    Access, Dependency, Failure, Format, Health, HealthLayer, Outcome, Probe, Reason, checks,
};

use crate::{
    helpers::browser::{Browser, Site, sample},
    support::{MAXIMUM_WAIT, Mode, Postgres, Proxy, Redis, wait_until},
};

/// The state of the row called so.
fn row(name: &str, status: &str) -> String {
    format!(
        "document.querySelector('[data-name=\"{name}\"]')?.dataset.status === '{status}' \
         && document.querySelector('[data-name=\"{name}\"] .status').textContent.toLowerCase() === '{status}'"
    )
}

/// The overall status.
fn is(word: &str) -> String {
    format!("document.getElementById('overall').textContent === '{word}'")
}

/// A browser that shows `path` of the app, which is served while the site lives.
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
        .info("version", "2.0.0")
        .build();
    let (site, mut browser) = showing(&health, "/health").await;
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
    assert!(
        why.contains("timeout") && why.contains("Check whether"),
        "{why}"
    );
    let until = browser.text("#d0 .until").await;
    assert!(
        until.starts_with("up until ") && until.ends_with(" UTC"),
        "{until}"
    );
    assert_eq!(browser.text("#rotation").await, "Out of rotation.");
    assert!(browser.text("#d0 .since").await.starts_with("since "));
    let said = browser.text("#announcement").await;
    assert!(said.contains("Health is down. database is down."), "{said}");
    let marks = "document.querySelector('#d0 .chart .down').getAttribute('d')";
    assert_ne!(browser.evaluate(marks).await, "");
    let past = "document.querySelector('#d0 .runs li').textContent";
    let past = browser.evaluate(past).await;
    assert!(
        past.as_str().is_some_and(|past| past.contains("timeout")),
        "{past}"
    );
    let titled = "document.title.startsWith('Down · ')";
    assert_eq!(browser.evaluate(titled).await, true);
    browser.settled(&row("cache", "up")).await;

    postgres.thaw();
    browser.settled(&row("database", "up")).await;
    browser.settled(&is("Up")).await;
    assert_eq!(browser.text("#rotation").await, "In rotation.");
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
    assert!(browser.text("#d3 .why").await.contains("behind"));
    assert!(browser.text(".bar").await.contains("reloads every 5 s"));
    assert!(browser.text("#live").await.starts_with("As of "));
    wait_until("it has reloaded twice", MAXIMUM_WAIT, async || {
        browser.settled("document.readyState === 'complete'").await;
        browser.requests().len() > 2
    })
    .await;
    assert_no_complaints(&browser);
}

#[tokio::test]
async fn it_shows_since_when_the_connection_is_lost() {
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
    assert_eq!(browser.text("#announcement").await, "Connected again.");
}

#[tokio::test]
async fn a_changed_list_keeps_focus_scroll_and_open_details() {
    let health = sample::up();
    health.report().await;
    let site = Site::open(&health).await;
    let mut browser = Browser::launch().await;
    browser.view("light", 390, 300).await;
    browser.open_live(&site.url("/health")).await;
    let opened = "document.querySelector('[data-name=cache] details').open = true; \
        document.querySelector('[data-name=cache] summary').focus(); scrollTo(0, 150); \
        window.old = document.getElementById('main'); scrollY";
    assert_eq!(browser.evaluate(opened).await, 150);
    // Before it in the list, so that its row moves.
    assert!(health.remove("database"));
    let search = Dependency::new("search", async || Ok(Outcome::up()));
    health.add(search.optional()).expect("a new name");
    browser.settled(&row("search", "up")).await;
    assert_eq!(browser.text("#d1 h2").await, "search");
    assert_eq!(browser.text("#d1 .kind").await, "optional");
    let kept = "document.activeElement === document.querySelector('#d0 summary') \
        && document.querySelector('#d0 details').open \
        && document.querySelectorAll('.row').length === 2 \
        && document.getElementById('main') !== window.old";
    assert_eq!(browser.evaluate(kept).await, true);
    health.set_draining(true);
    let out = "document.getElementById('rotation').textContent === 'Out of rotation.'";
    browser.settled(out).await;
    assert_eq!(browser.evaluate(kept).await, true);
    assert_eq!(browser.evaluate("scrollY").await, 150);
    assert_no_complaints(&browser);
}

#[tokio::test]
async fn a_path_of_its_own_shows_the_lifecycle() {
    let health = Health::builder()
        .check("database", async || Err(Failure::new(Reason::Refused)))
        .check("cache", async || Err(Failure::new(Reason::Refused)))
        .build();
    health.report().await;
    let layer = HealthLayer::new(health.clone()).details(Access::everybody());
    let layer = layer.path_with_format("/status", Probe::Readiness, Format::html());
    let site = Site::of(layer).await;
    let mut browser = Browser::launch().await;
    browser.open_live(&site.url("/status")).await;
    assert_eq!(browser.text("#rotation").await, "Out of rotation.");
    assert!(browser.text(".overall .why").await.starts_with("starting"));
    assert_eq!(browser.text("#d0 .until").await, "never up since start");
    let together = browser.text("#together").await;
    assert!(
        together.contains("suspect this host or its network"),
        "{together}"
    );
    let place = browser.text("#d0 .place").await;
    assert_eq!(place, "timeout 800 ms · checked at most every 900 ms");

    health.enter_maintenance("moving the disk");
    browser
        .settled("document.getElementById('message')?.textContent === 'moving the disk'")
        .await;
    let why = browser.text(".overall .why").await;
    assert!(why.starts_with("maintenance"), "{why}");
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
    let why = browser.text(".overall .why").await;
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
    assert_no_complaints(&browser);
}

#[tokio::test]
async fn without_details_it_shows_the_current_status_only() {
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
    assert_no_complaints(&browser);
}

//! The page by axe-core's rules, in both themes and at a phone's width.

use crate::helpers::browser::{Browser, Site, axe, sample};
use crate::support::{Mode, Proxy};
use tower_health::Health;

const RUN: &str = "axe.run().then(({violations, incomplete, passes}) => ({
  violations: violations.map(({id, nodes}) => `${id}: ${nodes.map((node) => node.html).join(' ')}`),
  unsure: incomplete.map(({id, nodes}) => `${id}: ${nodes.map((node) => node.html).join(' ')}`),
  rules: passes.length,
}))";

async fn is_accessible(browser: &mut Browser, url: &str) {
    for (scheme, width, height) in [
        ("light", 1120, 700),
        ("dark", 1120, 700),
        ("light", 390, 844),
        ("dark", 390, 844),
    ] {
        browser.view(scheme, width, height).await;
        browser.open_live(url).await;
        passes(browser, &format!("{url} {scheme} {width}")).await;
        let wider = "document.documentElement.scrollWidth > innerWidth";
        assert_eq!(
            browser.evaluate(wider).await,
            false,
            "{url} scrolls sideways at {width}"
        );
    }
}

/// Holds what the page shows now to the rules. Those that axe cannot decide count as broken.
async fn passes(browser: &mut Browser, what: &str) {
    browser
        .evaluate("document.querySelectorAll('details').forEach((one) => one.open = true)")
        .await;
    browser.evaluate(&axe()).await;
    let found = browser.evaluate(RUN).await;
    let nothing = serde_json::json!([]);
    assert_eq!(found["violations"], nothing, "{what}");
    assert_eq!(found["unsure"], nothing, "{what}");
    assert!(found["rules"].as_u64() > Some(10), "{found}");
}

#[tokio::test]
async fn axe_finds_nothing_in_any_state() {
    let mut browser = Browser::launch().await;
    for health in [sample::up(), sample::degraded(), sample::down()] {
        health.report().await;
        let site = Site::open(&health).await;
        is_accessible(&mut browser, &site.url("/health")).await;
    }
}

#[tokio::test]
async fn axe_finds_nothing_out_of_rotation_or_without_details() {
    let mut browser = Browser::launch().await;
    let health = sample::up();
    health.report().await;
    health.enter_maintenance("moving the disk");
    let site = Site::open(&health).await;
    is_accessible(&mut browser, &site.url("/readyz")).await;
    is_accessible(&mut browser, &site.url("/health/database")).await;
    let site = Site::closed(&health).await;
    is_accessible(&mut browser, &site.url("/health")).await;
    let site = Site::open(&Health::builder().build()).await;
    is_accessible(&mut browser, &site.url("/health")).await;
}

#[tokio::test]
async fn axe_finds_nothing_when_nobody_answers() {
    let mut browser = Browser::launch().await;
    let health = sample::degraded();
    health.report().await;
    let site = Site::open(&health).await;
    let proxy = Proxy::start(site.port()).await;
    let url = format!("http://127.0.0.1:{}/health", proxy.port());
    browser.open_live(&url).await;
    proxy.set(Mode::Refuse).await;
    browser
        .settled("!document.getElementById('lost').hidden")
        .await;
    passes(&mut browser, "lost").await;
}

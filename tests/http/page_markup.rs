//! What the page is made of: text that stays text, one drawing by two hands, no weight.

use crate::helpers::browser::{Browser, Site, sample};
use tower_health::Health;

/// The page's content as the server draws it anew and as the script has patched it, without what
/// has moved on between the two.
const BOTH: &str = r"(async () => {
  const still = (main) => main.innerHTML
    .replace(/\d+ min \d+ s|\d+ s|less than 1 s/g, 'a while')
    .replace(/\d\d:\d\d:\d\d/g, 'then');
  const fresh = await (await fetch(location, {headers: {accept: 'text/html'}})).text();
  const page = new DOMParser().parseFromString(fresh, 'text/html');
  return [still(page.querySelector('main')), still(document.querySelector('main'))];
})()";

async fn both_hands_agree(health: &Health, path: &str) {
    let site = Site::open(health).await;
    let mut browser = Browser::launch().await;
    browser.open_live(&site.url(path)).await;
    let both = browser.evaluate(BOTH).await;
    let hand = |which: usize| both[which].as_str().expect("markup").replace('<', "\n<");
    for (server, script) in hand(0).lines().zip(hand(1).lines()) {
        assert_eq!(script, server, "{path}");
    }
    assert_eq!(hand(0), hand(1), "{path}");
}

#[tokio::test]
async fn the_script_draws_what_the_server_draws() {
    let degraded = sample::degraded();
    for _ in 0..3 {
        degraded.report().await;
    }
    both_hands_agree(&degraded, "/health").await;
    both_hands_agree(&degraded, "/health/database").await;
    both_hands_agree(&degraded, "/readyz?exclude=cache").await;
    let down = sample::down();
    down.report().await;
    both_hands_agree(&down, "/health").await;
    down.enter_maintenance("moving the disk");
    both_hands_agree(&down, "/readyz").await;
    both_hands_agree(&Health::builder().build(), "/health").await;
}

#[tokio::test]
async fn names_and_messages_are_text() {
    let health = sample::degraded();
    health.report().await;
    let site = Site::open(&health).await;
    let mut browser = Browser::launch().await;
    for scripts in [true, false] {
        if scripts {
            browser.open_live(&site.url("/health")).await;
            // Once more from a blank row.
            browser
                .evaluate("document.querySelectorAll('.row')[2].dataset.name = 'another'")
                .await;
            browser.open_live(&site.url("/health")).await;
        } else {
            browser.without_scripts().await;
            browser.open(&site.url("/health")).await;
        }
        let name = browser
            .evaluate("document.querySelector('#d2 h2').textContent")
            .await;
        assert_eq!(name, sample::HOSTILE);
        let message = "document.querySelector('#d2 .message').textContent";
        assert_eq!(browser.evaluate(message).await, sample::MESSAGE);
        let foreign =
            "document.querySelectorAll('img, u, i, script:not(body>script:last-child)').length";
        assert_eq!(browser.evaluate(foreign).await, 0);
        assert_eq!(browser.evaluate("typeof pwned").await, "undefined");
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

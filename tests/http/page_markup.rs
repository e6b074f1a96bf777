//! Names and messages of the app are text on the page, whatever they contain.

use crate::helpers::browser::{Browser, Site, sample};

#[tokio::test]
async fn names_and_messages_are_text() {
    let health = sample::degraded();
    health.report().await;
    let site = Site::open(&health).await;
    let mut browser = Browser::launch().await;
    for scripts in [true, false] {
        if scripts {
            browser.open_live(&site.url("/health")).await;
        } else {
            browser.without_scripts().await;
            browser.open(&site.url("/health")).await;
        }
        let foreign = "document.querySelectorAll('img, u, i, script:not(body>script:last-child)')";
        for (expression, expected) in [
            (
                "document.querySelector('#d2 h2').textContent",
                sample::HOSTILE.into(),
            ),
            (
                "document.querySelector('#d2 .message').textContent",
                sample::MESSAGE.into(),
            ),
            (&*format!("{foreign}.length"), serde_json::json!(0)),
            ("typeof pwned", "undefined".into()),
        ] {
            assert_eq!(browser.evaluate(expression).await, expected, "{expression}");
        }
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

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

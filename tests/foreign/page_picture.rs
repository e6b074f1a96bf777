//! Takes the picture of the page that the README shows:
//! `cargo test --all-features --test page_picture -- --ignored`

use std::{env, fs, path::PathBuf, time::Duration};

use crate::helpers::browser::{Browser, Site};
use crate::support::{Postgres, Redis};
use base64::{Engine, prelude::BASE64_STANDARD};
use bb8_redis::redis::AsyncCommands;
use tokio::time::sleep;
use tower_health::{Dependency, Health, checks};

/// Between two runs, so that a past does not take long.
const PERIOD: Duration = Duration::from_millis(150);

async fn runs(health: &Health, count: usize) {
    for _ in 0..count {
        health.report().await;
        sleep(PERIOD).await;
    }
}

#[tokio::test]
#[ignore = "writes examples/page.png and proves nothing"]
async fn the_picture() {
    let postgres = Postgres::start().await;
    let (queue, cache) = (Redis::start().await, Redis::start().await);
    let pool = postgres.pool(10);
    let waiting = checks::redis(queue.pool(8)).queue_depth("jobs", 100, 1_000);
    let often = |dependency: Dependency| dependency.cache_for(PERIOD / 2);
    let health = Health::builder()
        .add(often(Dependency::new(
            "database",
            checks::postgres(pool.clone()),
        )))
        .add(often(Dependency::new("queue", waiting)))
        .add(
            often(Dependency::new("cache", checks::redis(cache.pool(16))))
                .optional()
                .timeout(Duration::from_millis(300)),
        )
        .info("version", "2.4.1")
        .info("environment", "production")
        .build();
    let _held = tokio::join!(pool.get(), pool.get(), pool.get());
    // First: its start would show in the latencies.
    let mut browser = Browser::launch().await;
    runs(&health, 20).await;
    let mut jobs = queue.connection().await;
    for number in 0..142 {
        let _: () = jobs.rpush("jobs", number).await.expect("a queue");
    }
    runs(&health, 5).await;
    cache.freeze();
    runs(&health, 9).await;

    let site = Site::open(&health).await;
    let directory = env::var_os("TOWER_HEALTH_PICTURES").map_or_else(
        || concat!(env!("CARGO_MANIFEST_DIR"), "/examples").into(),
        PathBuf::from,
    );
    browser.view("light", 1096, 740).await;
    browser.open_live(&site.url("/health")).await;
    let png = BASE64_STANDARD.decode(browser.screenshot().await);
    fs::write(directory.join("page.png"), png.expect("base64")).expect("a directory");
}

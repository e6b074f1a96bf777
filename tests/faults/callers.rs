//! Several callers of one check at the same time.

use std::time::Duration;

use tower_health::{Dependency, Health, Status, checks};

use crate::{
    app::{postgres_pool, run, warm},
    support::{Postgres, Waits},
};

const ROUNDS: u32 = 300;

/// Asserts that no round finds the check down, without the rounds in which the machine was late.
async fn assert_no_false_down(mut round: impl AsyncFnMut() -> [Status; 2]) {
    let mut wrong = 0;
    for _ in 0..ROUNDS {
        let before = Waits::now();
        let found = round().await;
        if found.contains(&Status::Down) && before.until_now() < Duration::from_millis(100) {
            wrong += 1;
        }
    }
    assert_eq!(wrong, 0, "of {ROUNDS} rounds");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_callers_and_two_handles_get_no_false_down() {
    let server = Postgres::start().await;
    for tested in [true, false] {
        let pool = postgres_pool(server.config(), 4, tested);
        warm(&pool, 4).await;
        let check = checks::postgres(pool).query("SELECT 1");
        assert_no_false_down(async || {
            let (one, two) = tokio::join!(run(&check), run(&check));
            [one.0, two.0]
        })
        .await;
        let dependency = Dependency::new("db", check).cache_for(Duration::ZERO);
        let handles = [dependency.clone(), dependency]
            .map(|dependency| Health::builder().add(dependency).build());
        assert_no_false_down(async || {
            let (one, two) = tokio::join!(handles[0].report(), handles[1].report());
            [one, two].map(|report| report.entry("db").unwrap().status)
        })
        .await;
    }
}

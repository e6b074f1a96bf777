//! Several callers of one check at the same time.

use std::time::Duration;

use tower_health::{Check, Dependency, Health, Status, checks};

use crate::{
    app::{PostgresManager, postgres_pool, run, warm},
    support::{Postgres, time_waited},
};

const ROUNDS: u32 = 300;

async fn pool(server: &Postgres, tested: bool) -> bb8::Pool<PostgresManager> {
    let pool = postgres_pool(server.config(), 4, tested);
    warm(&pool, 4).await;
    pool
}

fn check(pool: &bb8::Pool<PostgresManager>) -> impl Check + use<> {
    checks::postgres(pool.clone()).query("SELECT 1")
}

/// Rounds with a run that was down, without those in which the machine was late.
async fn false_downs(mut round: impl AsyncFnMut() -> [Status; 2]) -> u32 {
    let mut wrong = 0;
    for _ in 0..ROUNDS {
        let before = time_waited();
        let found = round().await;
        let waited = time_waited().saturating_sub(before);
        if found.contains(&Status::Down) && waited < Duration::from_millis(200) {
            wrong += 1;
        }
    }
    wrong
}

#[tokio::test(flavor = "multi_thread")]
async fn two_callers_of_a_check_with_a_query_get_no_false_down() {
    let server = Postgres::start().await;
    for tested in [true, false] {
        let check = check(&pool(&server, tested).await);
        let wrong = false_downs(async || {
            let (one, two) = tokio::join!(run(&check), run(&check));
            [one.0, two.0]
        })
        .await;
        assert_eq!(wrong, 0, "tested {tested}: of {ROUNDS} rounds");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_handles_with_one_dependency_get_no_false_down() {
    let server = Postgres::start().await;
    for tested in [true, false] {
        let dependency =
            Dependency::new("db", check(&pool(&server, tested).await)).cache_for(Duration::ZERO);
        let handles = [dependency.clone(), dependency].map(|dependency| {
            let health = Health::builder().add(dependency).build();
            health.set_started();
            health
        });
        let wrong = false_downs(async || {
            let (one, two) = tokio::join!(handles[0].report(), handles[1].report());
            [one, two].map(|report| report.entry("db").unwrap().status)
        })
        .await;
        assert_eq!(wrong, 0, "tested {tested}: of {ROUNDS} rounds");
    }
}

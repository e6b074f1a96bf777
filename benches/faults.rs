//! What a hand-written check and ours report of the same faults on the same servers.
//!
//! The hand-written check is the common one: a connection of the pool and a query on it within
//! a second. Prints a table; times are orders of magnitude.
//!
//! `cargo bench --bench faults`
#![allow(missing_docs)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::{future::Future, time::Duration};

use bb8::{ManageConnection, Pool};
use bb8_redis::redis::cmd;
use support::{Mode, Postgres, Proxy, Redis};
use tokio::time::{Instant, sleep, timeout};
use tower_health::{Check, checks};

const SECOND: Duration = Duration::from_secs(1);
/// Between two checks, and the longest that recovery is waited for.
const PERIOD: Duration = Duration::from_millis(250);
const MAXIMUM_WAIT: Duration = Duration::from_secs(20);

type PgPool = Pool<bb8_postgres::PostgresConnectionManager<bb8_postgres::tokio_postgres::NoTls>>;
type RedisPool = Pool<bb8_redis::RedisConnectionManager>;

/// `up`, `degraded: reason` or `down: reason`.
type Answer = String;

async fn naive_postgres(pool: &PgPool) -> Answer {
    let look = async {
        let client = pool.get().await.ok()?;
        client.query_one("SELECT 1", &[]).await.ok()
    };
    words(timeout(SECOND, look).await.ok().flatten().is_some())
}

async fn naive_redis(pool: &RedisPool) -> Answer {
    let look = async {
        let mut connection = pool.get().await.ok()?;
        let pong: Result<String, _> = cmd("PING").query_async(&mut *connection).await;
        pong.ok()
    };
    words(timeout(SECOND, look).await.ok().flatten().is_some())
}

fn words(up: bool) -> Answer {
    if up { "up" } else { "down" }.to_owned()
}

async fn ours(check: &impl Check) -> Answer {
    match check.check().await {
        Ok(outcome) => match outcome.reason() {
            Some(reason) => format!("{}: {reason}", outcome.status()),
            None => outcome.status().to_string(),
        },
        Err(failure) => format!("down: {}", failure.reason()),
    }
}

/// How long until `look` says up, checked each [`PERIOD`].
async fn until_up<F: Future<Output = Answer>>(look: impl Fn() -> F) -> String {
    let start = Instant::now();
    while start.elapsed() < MAXIMUM_WAIT {
        if look().await == "up" {
            return format!("up after {:.2} s", start.elapsed().as_secs_f64());
        }
        sleep(PERIOD).await;
    }
    format!("not up within {} s", MAXIMUM_WAIT.as_secs())
}

fn row(fault: &str, naive: &str, ours: &str) {
    println!("| {fault} | {naive} | {ours} |");
}

async fn warm<M: ManageConnection>(pool: &Pool<M>) {
    let _ = pool.get().await;
}

#[tokio::main]
async fn main() {
    let start = Instant::now();
    println!("| fault | `timeout(1 s, get() + query)` | this crate |");
    println!("|---|---|---|");
    killed_for_eight_seconds().await;
    saturated().await;
    silent_route().await;
    refused_by_redis().await;
    redis_restarted_without_test().await;
    aborted_transaction().await;
    println!("\nmeasured in {:.0} s", start.elapsed().as_secs_f64());
}

async fn killed_for_eight_seconds() {
    let mut server = Postgres::start().await;
    let (first, second) = (server.pool(4), server.pool(4));
    warm(&first).await;
    warm(&second).await;
    let check = checks::postgres(second);
    server.kill();
    let (mut naive, mut found) = (String::new(), String::new());
    let end = Instant::now() + 8 * SECOND;
    while Instant::now() < end {
        (naive, found) = tokio::join!(naive_postgres(&first), ours(&check));
        sleep(PERIOD).await;
    }
    server.restart().await;
    let (naive_up, our_up) = tokio::join!(
        until_up(|| naive_postgres(&first)),
        until_up(|| ours(&check))
    );
    row(
        "Postgres killed, back after 8 s",
        &format!("{naive}, {naive_up}"),
        &format!("{found}, {our_up}"),
    );
}

async fn saturated() {
    let server = Postgres::start().await;
    let pool = server.pool(2);
    let _held = (pool.get().await, pool.get().await);
    let naive = naive_postgres(&pool).await;
    let found = ours(&checks::postgres(pool.clone())).await;
    row("all connections in use, server fine", &naive, &found);
}

async fn silent_route() {
    let server = Postgres::start().await;
    let mut answers = Vec::new();
    for naive in [true, false] {
        let proxy = Proxy::start(server.port()).await;
        proxy.set(Mode::Stall).await;
        let pool = server.pool_through(proxy.port(), 4);
        let check = checks::postgres(pool.clone());
        let look = async || {
            if naive {
                naive_postgres(&pool).await
            } else {
                ours(&check).await
            }
        };
        let first = look().await;
        proxy.set(Mode::StallExisting).await;
        answers.push(format!("{first}, {}", until_up(look).await));
    }
    row(
        "a connect that hangs, then the route is back",
        &answers[0],
        &answers[1],
    );
}

async fn refused_by_redis() {
    let server = Redis::builder().password("secret").start().await;
    let mut answers = Vec::new();
    for naive in [true, false] {
        let proxy = Proxy::start(server.port()).await;
        // Without the password: connects work, and each command is refused.
        let manager =
            bb8_redis::RedisConnectionManager::new(format!("redis://127.0.0.1:{}", proxy.port()))
                .expect("a URL");
        let pool = Pool::builder().max_size(4).build_unchecked(manager);
        let answer = if naive {
            naive_redis(&pool).await
        } else {
            ours(&checks::redis(pool)).await
        };
        answers.push(format!("{answer}, {} connections", proxy.connections()));
    }
    row(
        "Redis wants a password (one check)",
        &answers[0],
        &answers[1],
    );
}

async fn redis_restarted_without_test() {
    let mut server = Redis::start().await;
    let pools: Vec<RedisPool> = (0..2)
        .map(|_| {
            let manager = bb8_redis::RedisConnectionManager::new(server.url()).expect("a URL");
            Pool::builder()
                .max_size(2)
                .test_on_check_out(false)
                .build_unchecked(manager)
        })
        .collect();
    for pool in &pools {
        warm(pool).await;
    }
    server.restart().await;
    let check = checks::redis(pools[1].clone());
    let (naive, found) = tokio::join!(
        until_up(|| naive_redis(&pools[0])),
        until_up(|| ours(&check))
    );
    row(
        "Redis restarted, `test_on_check_out(false)`",
        &naive,
        &found,
    );
}

async fn aborted_transaction() {
    let server = Postgres::start().await;
    let pool = server.pool(1);
    {
        let client = pool.get().await.expect("the server answers");
        let _ = client.batch_execute("BEGIN; SELECT 1/0").await;
    }
    let naive = naive_postgres(&pool).await;
    let found = ours(&checks::postgres(pool.clone())).await;
    row("a transaction left aborted on a connection", &naive, &found);
}

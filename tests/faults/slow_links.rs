//! A server that is far away, a pool that is briefly in use, and a connect that takes long.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bb8::{ManageConnection, Pool};
use tokio::time::sleep;
use tokio_postgres::{Client, NoTls};
use tower_health::{Reason, Status, checks, checks::ConnectTimeoutManager};

use crate::{
    app::{
        Load, PostgresManager, SOON, UP, assert_run, degraded, down, hold, is_served, pool,
        postgres_pool, run, warm,
    },
    support::{Mode, Postgres, Proxy, judged_on_time, wait_until},
};

const SIZE: u32 = 2;

/// Asserts that a pool far away is saturated while all its connections are in use, and up afterwards.
async fn assert_saturated_then_up(server: &Postgres, round_trip: u64, tested: bool) {
    let context = format!("{round_trip} ms, tested {tested}");
    let proxy = Proxy::start(server.port()).await;
    let pool = postgres_pool(server.config_through(proxy.port()), SIZE, tested);
    warm(&pool, SIZE).await;
    let distance = Duration::from_millis(round_trip);
    proxy.set(Mode::Distant(distance)).await;
    let check = checks::postgres(pool.clone());
    assert_run(&check, UP, &context).await;
    for _ in 0..2 {
        let held = hold(&pool, SIZE).await;
        for _ in 0..2 {
            assert_run(&check, degraded(Reason::Saturated), &context).await;
        }
        drop(held);
        for _ in 0..4 {
            wait_until("the app is served", SOON, async || is_served(&pool).await).await;
            assert_run(&check, UP, &context).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_connections_in_use_far_away_is_saturated_then_up() {
    let (trust, scram) = tokio::join!(
        Postgres::start(),
        Postgres::builder().password("word").start()
    );
    // A SCRAM login takes more round trips.
    tokio::join!(
        assert_saturated_then_up(&scram, 86, true),
        assert_saturated_then_up(&scram, 86, false),
        assert_saturated_then_up(&trust, 180, true),
        assert_saturated_then_up(&trust, 180, false),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_returned_late_is_not_down() {
    let server = Postgres::start().await;
    for tested in [true, false] {
        let pool = postgres_pool(server.config(), 1, tested);
        warm(&pool, 1).await;
        let check = checks::postgres(pool.clone()).query("SELECT pg_sleep(0.25)");
        for millis in [450, 600] {
            let in_use = async || {
                let connection = hold(&pool, 1).await;
                let returned = async {
                    sleep(Duration::from_millis(millis)).await;
                    drop(connection);
                };
                tokio::join!(run(&check), returned).0
            };
            let found = judged_on_time(in_use, |found| found.0 != Status::Down).await;
            assert!(
                [UP, degraded(Reason::Saturated)].contains(&found),
                "tested {tested}, in use for {millis} ms: {found:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_at_240_ms_are_up_during_traffic() {
    let server = Postgres::start().await;
    let proxy = Proxy::start(server.port()).await;
    for tested in [true, false] {
        proxy.set(Mode::Pass).await;
        let pool = postgres_pool(server.config_through(proxy.port()), 10, tested);
        warm(&pool, 10).await;
        proxy.set(Mode::Distant(Duration::from_millis(240))).await;
        // Six are idle; four are in use, at random times.
        let load = Load::start(&pool, 4, "SELECT pg_sleep(random() / 5)");
        load.until_served(4).await;
        for _ in 0..4 {
            // Its first run does not know the distance.
            let check = checks::postgres(pool.clone());
            for _ in 0..2 {
                assert_run(&check, UP, &format!("tested {tested}")).await;
            }
        }
    }
}

/// The real manager, with logins that take 2.3 s, as with a cold TLS cache or cloud tokens.
#[derive(Clone, Debug)]
struct SlowLogin {
    manager: PostgresManager,
    ended: Arc<AtomicU32>,
}

impl ManageConnection for SlowLogin {
    type Connection = Client;
    type Error = tokio_postgres::Error;

    async fn connect(&self) -> Result<Client, tokio_postgres::Error> {
        sleep(Duration::from_millis(2300)).await;
        let connection = self.manager.connect().await;
        if connection.is_ok() {
            self.ended.fetch_add(1, Ordering::SeqCst);
        }
        connection
    }

    async fn is_valid(&self, connection: &mut Client) -> Result<(), tokio_postgres::Error> {
        self.manager.is_valid(connection).await
    }

    fn has_broken(&self, connection: &mut Client) -> bool {
        self.manager.has_broken(connection)
    }
}

/// Asserts that the check is up at the second run after a login has ended, or before.
async fn assert_up_after_a_login<M>(pool: Pool<M>, ended: Arc<AtomicU32>, context: &str)
where
    M: ManageConnection<Connection = Client>,
{
    let check = checks::postgres(pool.clone());
    let before = ended.load(Ordering::SeqCst);
    let mut late = 0;
    wait_until(context, SOON, async || {
        let has_ended = ended.load(Ordering::SeqCst) > before;
        let found = match has_ended {
            true => judged_on_time(async || run(&check).await, |found| *found == UP).await,
            false => run(&check).await,
        };
        assert!(
            [UP, down(Reason::Timeout)].contains(&found),
            "{context}: {found:?}"
        );
        late += u32::from(has_ended && found != UP);
        found == UP
    })
    .await;
    assert!(
        late <= 1,
        "{context}: {late} runs were down after the login"
    );
    for _ in 0..3 {
        assert_run(&check, UP, context).await;
    }
    warm(&pool, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_of_2300_ms_is_up_once_it_has_ended() {
    let mut server = Postgres::start().await;
    let slow = || SlowLogin {
        manager: PostgresManager::new(server.config(), NoTls),
        ended: Arc::default(),
    };
    let (plain, bounded, restarted) = (slow(), slow(), slow());
    let ended = [&plain, &bounded, &restarted].map(|manager| manager.ended.clone());
    let bounded = ConnectTimeoutManager::new(bounded).connect_timeout(Duration::from_secs(5));
    let restarted = pool(restarted, SIZE, true);
    warm(&restarted, SIZE).await;
    server.restart().await;
    let [one, two, three] = ended;
    tokio::join!(
        assert_up_after_a_login(pool(plain, SIZE, true), one, "plain"),
        assert_up_after_a_login(pool(bounded, SIZE, true), two, "connect timeout"),
        assert_up_after_a_login(restarted, three, "restarted"),
    );
}

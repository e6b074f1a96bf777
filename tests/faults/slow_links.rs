//! A server that is far away, a pool that is briefly in use, and a connect that takes long.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bb8::ManageConnection;
use bb8_postgres::PostgresConnectionManager;
use tokio::time::{sleep, timeout};
use tokio_postgres::{Client, NoTls};
use tower_health::{Reason, Status, checks};

use crate::{
    answer::{Answer, UP, degraded, down},
    app::{
        Load, PostgresManager, SOON, hold, is_served, postgres_pool, run, warm,
        with_connect_timeout,
    },
    support::{Mode, Postgres, Proxy, judged_on_time, wait_until},
};

const SIZE: u32 = 2;

/// A pool of two warm connections over a distance.
struct Distant {
    _proxy: Proxy,
    pool: bb8::Pool<PostgresManager>,
    context: String,
}

impl Distant {
    async fn to(server: &Postgres, round_trip: u64, tested: bool) -> Self {
        let proxy = Proxy::start(server.port()).await;
        let pool = postgres_pool(server.config_through(proxy.port()), SIZE, tested);
        warm(&pool, SIZE).await;
        let round_trip = Duration::from_millis(round_trip);
        proxy.set(Mode::Distant(round_trip)).await;
        Self {
            _proxy: proxy,
            pool,
            context: format!("{round_trip:?}, tested {tested}"),
        }
    }
}

/// Runs after moments with all connections in use: those that are not up while the app is served.
async fn false_downs(distant: Distant) -> Vec<Answer> {
    let check = checks::postgres(distant.pool.clone());
    let mut wrong = Vec::new();
    for _ in 0..2 {
        let held = hold(&distant.pool, SIZE).await;
        let in_use = run(&check).await;
        drop(held);
        for _ in 0..6 {
            assert!(is_served(&distant.pool).await, "{}", distant.context);
            let found = judged_on_time(async || run(&check).await, |found| *found == UP).await;
            if found != UP {
                println!("{}: {in_use:?}, then {found:?}", distant.context);
                wrong.push(found);
            }
        }
    }
    wrong
}

async fn idle_again(server: &Postgres) {
    let wrong = tokio::join!(
        false_downs(Distant::to(server, 86, true).await),
        false_downs(Distant::to(server, 86, false).await),
        false_downs(Distant::to(server, 180, true).await),
        false_downs(Distant::to(server, 180, false).await),
    );
    let none = Vec::new();
    assert_eq!(wrong, (none.clone(), none.clone(), none.clone(), none));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_idles_again_is_up_with_trust() {
    idle_again(&Postgres::start().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_idles_again_is_up_with_scram() {
    idle_again(&Postgres::builder().password("word").start().await).await;
}

/// The first runs of a pool whose connections are all in use.
async fn all_in_use(distant: Distant) {
    let check = checks::postgres(distant.pool.clone());
    let healthy = judged_on_time(async || run(&check).await, |found| *found == UP).await;
    assert_eq!(healthy, UP, "{}", distant.context);
    let _held = hold(&distant.pool, SIZE).await;
    let saturated = degraded(Reason::Saturated);
    for round in 0..3 {
        let found = judged_on_time(async || run(&check).await, |found| *found == saturated).await;
        assert_eq!(found, saturated, "{}: run {round}", distant.context);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_connections_in_use_at_86_ms_with_scram_is_saturated() {
    let server = Postgres::builder().password("word").start().await;
    for tested in [true, false] {
        all_in_use(Distant::to(&server, 86, tested).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_connections_in_use_at_180_ms_with_trust_is_saturated() {
    let server = Postgres::start().await;
    for tested in [true, false] {
        all_in_use(Distant::to(&server, 180, tested).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_comes_back_late_is_not_down() {
    let server = Postgres::start().await;
    for tested in [true, false] {
        let pool = postgres_pool(server.config(), 1, tested);
        warm(&pool, 1).await;
        let check = checks::postgres(pool.clone()).query("SELECT pg_sleep(0.25)");
        for held in [450, 600] {
            let in_use = async || {
                let connection = hold(&pool, 1).await;
                let back = async {
                    sleep(Duration::from_millis(held)).await;
                    drop(connection);
                };
                tokio::join!(run(&check), back).0
            };
            let found = judged_on_time(in_use, |found| found.0 != Status::Down).await;
            println!("tested {tested}, in use for {held} ms: {found:?}");
            assert!(
                [UP, degraded(Reason::Saturated)].contains(&found),
                "tested {tested}, in use for {held} ms: {found:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_at_240_ms_are_up_beside_traffic() {
    let server = Postgres::start().await;
    let proxy = Proxy::start(server.port()).await;
    for tested in [true, false] {
        proxy.set(Mode::Pass).await;
        let pool = postgres_pool(server.config_through(proxy.port()), 10, tested);
        warm(&pool, 10).await;
        proxy.set(Mode::Distant(Duration::from_millis(240))).await;
        // Six idle; four serve, at times of their own.
        let load = Load::start(&pool, 4, "SELECT pg_sleep(random() / 5)");
        wait_until("requests are served", SOON, async || load.served() > 4).await;
        for round in 0..4 {
            // It knows nothing of the distance at its first run.
            let check = checks::postgres(pool.clone());
            for _ in 0..2 {
                let found = judged_on_time(async || run(&check).await, |found| *found == UP).await;
                assert_eq!(found, UP, "tested {tested}, check {round}");
            }
        }
    }
}

/// The real manager, with logins that take 2.3 s, as with cold TLS or tokens of a cloud.
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

/// Runs until the check is up, which are at most one after the first login has ended.
async fn up_after_a_slow_login<M>(pool: bb8::Pool<M>, ended: Arc<AtomicU32>, context: &str)
where
    M: ManageConnection<Connection = Client>,
{
    let check = checks::postgres(pool.clone());
    let before = ended.load(Ordering::SeqCst);
    let mut late = 0;
    wait_until(context, SOON / 2, async || {
        let can_be_up = ended.load(Ordering::SeqCst) > before;
        let found = run(&check).await;
        if found == UP {
            return true;
        }
        println!("{context}: {found:?}, a login has ended: {can_be_up}");
        assert_eq!(found, down(Reason::Timeout), "{context}");
        late += u32::from(can_be_up);
        false
    })
    .await;
    assert!(late <= 1, "{context}: {late} runs");
    for _ in 0..3 {
        assert_eq!(run(&check).await, UP, "{context}");
    }
    let served = timeout(SOON, pool.get()).await;
    assert!(served.is_ok(), "{context}");
}

fn pool_of<M: ManageConnection>(manager: M) -> bb8::Pool<M> {
    bb8::Pool::builder().max_size(SIZE).build_unchecked(manager)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_of_2300_ms_is_up_once_it_has_ended() {
    let mut server = Postgres::start().await;
    let slow = || SlowLogin {
        manager: PostgresConnectionManager::new(server.config(), NoTls),
        ended: Arc::default(),
    };
    let (plain, bounded, restarted) = (slow(), slow(), slow());
    let ended = [&plain, &bounded, &restarted].map(|manager| manager.ended.clone());
    let plain = pool_of(plain);
    let bounded = pool_of(with_connect_timeout(bounded).connect_timeout(Duration::from_secs(5)));
    let restarted = pool_of(restarted);
    warm(&restarted, SIZE).await;
    server.restart().await;
    let [one, two, three] = ended;
    tokio::join!(
        up_after_a_slow_login(plain, one, "plain"),
        up_after_a_slow_login(bounded, two, "connect timeout"),
        up_after_a_slow_login(restarted, three, "restarted"),
    );
}

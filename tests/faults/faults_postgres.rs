//! Each fault of a Postgres as a row: what is reported, how many connections that
//! costs, and what the first check after the mend says.

use std::time::Duration;

use crate::answer::{Answer, UP, look as look_at};
use crate::support::{Mode, Postgres, Proxy, judged_on_time, wait_until};
use bb8_postgres::PostgresConnectionManager;
use tokio::{
    sync::Semaphore,
    task::{JoinSet, LocalSet},
    time::{Instant, timeout},
};
use tokio_postgres::NoTls;
use tower_health::{Check, Reason, Status, checks};

type Pool = bb8::Pool<PostgresConnectionManager<NoTls>>;

const SIZE: u32 = 3;
/// Rows side by side. A check gives up on the pool after 233 ms, which a machine under
/// too much load takes for a round trip.
const AT_ONCE: usize = 4;
const SOON: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Killed,
    Frozen,
    Silent,
    Reset,
    Refused,
    BackendsFrozen,
    PostmasterFrozen,
    StoppingSmartly,
    IdleClosed,
    Saturated,
    TransactionAborted,
}

/// How the app built its pool, and whether it had been used.
#[derive(Clone, Copy, Debug)]
struct Shape {
    tested: bool,
    retry: bool,
    warm: bool,
}

struct Rig {
    server: Postgres,
    proxy: Proxy,
    pool: Pool,
}

impl Rig {
    async fn new(fault: Fault, shape: Shape) -> Self {
        let server = Postgres::start().await;
        let proxy = Proxy::start(server.port()).await;
        // A proxy accepts before it knows that nobody listens behind it.
        let port = match fault {
            Fault::Killed | Fault::StoppingSmartly => server.port(),
            _ => proxy.port(),
        };
        let manager = PostgresConnectionManager::new(server.config_through(port), NoTls);
        let pool = Pool::builder()
            .max_size(SIZE)
            .test_on_check_out(shape.tested)
            .retry_connection(shape.retry)
            .build_unchecked(manager);
        if shape.warm {
            drop(hold_all(&pool).await);
        }
        Self {
            server,
            proxy,
            pool,
        }
    }

    /// Inflicts `fault`. What is returned keeps it up.
    async fn inflict(
        &mut self,
        fault: Fault,
    ) -> Vec<bb8::PooledConnection<'static, PostgresConnectionManager<NoTls>>> {
        match fault {
            Fault::Killed => self.server.kill(),
            Fault::Frozen => self.server.freeze(),
            Fault::Silent => self.proxy.set(Mode::Stall).await,
            Fault::Reset => self.proxy.set(Mode::Reset).await,
            Fault::Refused => self.proxy.set(Mode::Refuse).await,
            Fault::BackendsFrozen => self.server.freeze_backends(),
            Fault::PostmasterFrozen => self.server.freeze_postmaster(),
            Fault::StoppingSmartly => self.server.stop_smart().await,
            Fault::IdleClosed => {
                let client = self.server.client().await;
                let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'";
                client.simple_query(sql).await.unwrap();
                let others = "SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'";
                wait_until("all ended", SOON, async || {
                    client
                        .query_one(others, &[])
                        .await
                        .unwrap()
                        .get::<_, i64>(0)
                        == 0
                })
                .await;
            }
            Fault::Saturated => return hold_all(&self.pool).await,
            Fault::TransactionAborted => {
                for connection in hold_all(&self.pool).await {
                    connection.batch_execute("BEGIN").await.unwrap();
                    connection.batch_execute("SELECT 1/0").await.unwrap_err();
                }
            }
        }
        Vec::new()
    }

    async fn mend(&mut self, fault: Fault) {
        match fault {
            Fault::Killed | Fault::StoppingSmartly => self.server.restart().await,
            Fault::Frozen | Fault::BackendsFrozen | Fault::PostmasterFrozen => self.server.thaw(),
            Fault::Silent | Fault::Reset | Fault::Refused => self.proxy.set(Mode::Pass).await,
            Fault::IdleClosed | Fault::Saturated | Fault::TransactionAborted => {}
        }
        timeout(SOON, self.server.client()).await.unwrap();
    }
}

/// What every check must say while the fault lasts.
fn expected(fault: Fault, shape: Shape) -> Answer {
    use Fault::*;
    let down = |reason| (Status::Down, Some(reason));
    match (fault, shape.warm) {
        (Killed | Refused, _) => down(Reason::Refused),
        (Frozen | Silent, _) | (PostmasterFrozen, false) => down(Reason::Timeout),
        (Reset, _) => down(Reason::Reset),
        (BackendsFrozen, true) => down(Reason::PoolStuck),
        (StoppingSmartly, false) => down(Reason::Refused),
        (Saturated, _) => (Status::Degraded, Some(Reason::Saturated)),
        (BackendsFrozen, false)
        | (PostmasterFrozen | StoppingSmartly, true)
        | (IdleClosed | TransactionAborted, _) => UP,
    }
}

async fn row(fault: Fault, shape: Shape) {
    static TURNS: Semaphore = Semaphore::const_new(AT_ONCE);
    let _turn = TURNS.acquire().await.unwrap();
    let context = format!("{fault:?} {shape:?}");
    let mut rig = Rig::new(fault, shape).await;
    let check = checks::postgres(rig.pool.clone());
    if shape.warm {
        // A run opens a connection where the machine has kept it waiting. The next one does not.
        wait_until("a healthy run opens no connection", SOON, async || {
            let before = rig.proxy.connections();
            let found = look(&check, |found| found == UP).await.0;
            assert_eq!(found, UP, "{context}: healthy");
            rig.proxy.connections() == before
        })
        .await;
    }
    let held = rig.inflict(fault).await;
    let mut times = Vec::new();
    let mut made = Vec::new();
    for run in 0..3 {
        let mut before = rig.proxy.connections();
        let is_right = |verdict| verdict == expected(fault, shape);
        let judge = async || {
            before = rig.proxy.connections();
            look_once(&check).await
        };
        let (verdict, took) = judged_on_time(judge, |found| is_right(found.0)).await;
        made.push(rig.proxy.connections() - before);
        times.push(took.as_millis());
        assert!(
            is_right(verdict),
            "{context}: run {run}, {verdict:?} after {took:?}"
        );
    }
    assert!(
        made.iter().all(|&made| made <= 4),
        "{context}: {made:?} connections"
    );
    drop(held);
    rig.mend(fault).await;
    let (verdict, took) = look(&check, |found| found == UP).await;
    println!(
        "{context}: {:?} {times:?} ms, {made:?} connections; then {:?} {} ms",
        expected(fault, shape),
        verdict,
        took.as_millis()
    );
    assert_eq!(verdict, UP, "{context}: recovered");
    works_for_the_app(&rig.pool, &context).await;
}

/// Every slot can be had at once, and each connection answers.
async fn works_for_the_app(pool: &Pool, context: &str) {
    wait_until(context, SOON, async || {
        let all = hold_all(pool).await;
        let mut good = 0;
        for connection in &all {
            // An app that left its transaction aborted has to end it.
            let _ = timeout(SOON, connection.batch_execute("ROLLBACK")).await;
            good += u32::from(connection.query_one("SELECT 1", &[]).await.is_ok());
        }
        good == SIZE
    })
    .await;
}

async fn hold_all(
    pool: &Pool,
) -> Vec<bb8::PooledConnection<'static, PostgresConnectionManager<NoTls>>> {
    let mut held = Vec::new();
    for _ in 0..SIZE {
        held.push(timeout(SOON, pool.get_owned()).await.unwrap().unwrap());
    }
    held
}

/// A verdict that `is_right`, or else one found while the machine was on time.
async fn look(check: &impl Check, is_right: impl Fn(Answer) -> bool) -> (Answer, Duration) {
    judged_on_time(async || look_once(check).await, |found| is_right(found.0)).await
}

async fn look_once(check: &impl Check) -> (Answer, Duration) {
    let started = Instant::now();
    (look_at(check).await, started.elapsed())
}

async fn in_every_shape(fault: Fault) {
    let mut rows = JoinSet::new();
    for bits in 0..8 {
        let shape = Shape {
            tested: bits & 1 != 0,
            retry: bits & 2 != 0,
            warm: bits & 4 != 0,
        };
        rows.spawn_local(row(fault, shape));
    }
    let mut failed = Vec::new();
    while let Some(row) = rows.join_next().await {
        failed.extend(row.err());
    }
    assert!(failed.is_empty(), "{} shapes failed", failed.len());
}

macro_rules! faults {
    ($($name:ident: $fault:ident,)+) => {$(
        #[tokio::test]
        async fn $name() {
            LocalSet::new().run_until(in_every_shape(Fault::$fault)).await;
        }
    )+};
}

faults! {
    killed: Killed,
    frozen: Frozen,
    silent: Silent,
    reset: Reset,
    refused: Refused,
    backends_frozen: BackendsFrozen,
    postmaster_frozen: PostmasterFrozen,
    stopping_smartly: StoppingSmartly,
    idle_connections_closed: IdleClosed,
    saturated: Saturated,
    transaction_left_aborted: TransactionAborted,
}

//! Each fault of a Postgres as a row.

use std::{cell::Cell, rc::Rc};

use tokio::{
    net::TcpStream,
    sync::Semaphore,
    task::{JoinSet, LocalSet},
    time::timeout,
};
use tokio_postgres::{Client, NoTls};
use tower_health::{Check, Reason, Status};
use tower_health_pools::{diesel_bb8, sqlx_postgres::SqlxPool};

use crate::{
    answer::{Answer, UP, degraded, down},
    postgres_pools::{Deadpool, PostgresPool},
    row::{AT_ONCE, Miss, Row, SIZE, SOON, compare, faults, run, runs, wanted},
    support::{Mode, PgBouncer, Postgres, Proxy, wait_until},
};

faults! {
    Killed,
    Restarted,
    Frozen,
    Silent,
    Reset,
    Refused,
    BackendsFrozen,
    PostmasterFrozen,
    StoppingSmartly,
    IdleClosed,
    Saturated,
    FrozenInUse,
    Busy,
    TransactionAborted,
    PasswordChanged,
    DatabaseMissing,
    SlotsUsed,
    FrozenBehindPgBouncer,
}

/// What `checks::postgres` reports on a `bb8` pool that tests at checkout.
fn expected(fault: Fault, warm: bool) -> Answer {
    use Fault::*;
    match (fault, warm) {
        (Killed | Refused, _) => down(Reason::Refused),
        (Frozen | FrozenInUse | FrozenBehindPgBouncer | Silent, _) | (PostmasterFrozen, false) => {
            down(Reason::Timeout)
        }
        (Reset, _) => down(Reason::Reset),
        (BackendsFrozen, true) => down(Reason::PoolStuck),
        (StoppingSmartly, false) => down(Reason::Refused),
        (Saturated, _) => degraded(Reason::Saturated),
        (PasswordChanged, _) => down(Reason::Auth),
        (DatabaseMissing, _) => down(Reason::NotFound),
        (SlotsUsed, false) => down(Reason::Exhausted),
        (BackendsFrozen, false)
        | (PostmasterFrozen | StoppingSmartly | SlotsUsed, true)
        | (Restarted | IdleClosed | Busy | TransactionAborted, _) => UP,
    }
}

const CLOSE_OTHERS: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
     WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'";
const OTHERS: &str = "SELECT count(*) FROM pg_stat_activity \
     WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'";

struct Rig<P: PostgresPool> {
    server: Postgres,
    proxy: Proxy,
    pool: P,
    /// A superuser's session from before the fault, where the end of the fault needs one.
    session: Option<Client>,
    slots: Vec<Client>,
    /// The app's requests: always more than the pool has connections.
    load: JoinSet<()>,
    bouncer: Option<PgBouncer>,
}

impl<P: PostgresPool> Rig<P> {
    async fn new(fault: Fault, warm: bool) -> Self {
        let server = match fault {
            // Sent as it is: SCRAM in a debug build makes the machine late.
            Fault::PasswordChanged => Postgres::builder()
                .password("right")
                .hba("host all all 127.0.0.1/32 password"),
            Fault::SlotsUsed => Postgres::builder()
                .setting("max_connections", "8")
                .setting("superuser_reserved_connections", "0"),
            _ => Postgres::builder(),
        };
        let server = server.start().await;
        let proxy = Proxy::start(server.port()).await;
        let bouncer = match fault {
            Fault::FrozenBehindPgBouncer => PgBouncer::start(&server).await,
            _ => None,
        };
        // A proxy accepts before it knows that no server listens behind it.
        let port = match fault {
            Fault::Killed | Fault::Restarted | Fault::StoppingSmartly => server.port(),
            Fault::FrozenBehindPgBouncer => bouncer.as_ref().expect("pgbouncer").port(),
            _ => proxy.port(),
        };
        let session = match fault {
            Fault::PasswordChanged => Some(server.client().await),
            Fault::DatabaseMissing => {
                // The session that renames the database must be in another one.
                let create = "CREATE DATABASE other TEMPLATE postgres";
                server.client().await.batch_execute(create).await.unwrap();
                None
            }
            _ => None,
        };
        let rig = Self {
            pool: P::new(&server, port),
            server,
            proxy,
            session,
            slots: Vec::new(),
            load: JoinSet::new(),
            bouncer,
        };
        if warm {
            drop(rig.hold_all().await);
        }
        rig
    }

    async fn hold_all(&self) -> Vec<P::Checkout> {
        let mut held = Vec::new();
        for count in 1..=SIZE as usize {
            // An app tries again: a server that has just recovered may refuse a login once more.
            wait_until("a connection", SOON, async || {
                held.extend(timeout(SOON, self.pool.get()).await.ok().flatten());
                held.len() == count
            })
            .await;
        }
        held
    }

    async fn close_others(client: &Client) {
        wait_until("all others ended", SOON, async || {
            // Again each time: the pool may have been opening one.
            client.simple_query(CLOSE_OTHERS).await.unwrap();
            let row = client.query_one(OTHERS, &[]).await.unwrap();
            row.get::<_, i64>(0) == 0
        })
        .await;
    }

    /// Inflicts `fault`. The checkouts that are returned keep it up.
    async fn inflict(&mut self, fault: Fault, warm: bool) -> Vec<P::Checkout> {
        match fault {
            Fault::Killed => self.server.kill(),
            Fault::Restarted => {
                self.server.kill();
                self.server.restart().await;
            }
            Fault::Frozen | Fault::FrozenBehindPgBouncer => self.server.freeze(),
            Fault::FrozenInUse => {
                let held = self.hold_all().await;
                self.server.freeze();
                return held;
            }
            Fault::Busy => {
                let served = Rc::new(Cell::new(0));
                for _ in 0..4 * SIZE {
                    let (pool, served) = (self.pool.clone(), served.clone());
                    self.load.spawn_local(async move {
                        loop {
                            if let Some(mut connection) = pool.get().await {
                                P::execute(&mut connection, "SELECT pg_sleep(0.01)").await;
                                served.set(served.get() + 1);
                            }
                        }
                    });
                }
                // The first requests wait for logins.
                wait_until("the app is served", SOON, async || served.get() > 20 * SIZE).await;
            }
            Fault::Silent => self.proxy.set(Mode::Stall).await,
            Fault::Reset => self.proxy.set(Mode::Reset).await,
            Fault::Refused => self.proxy.set(Mode::Refuse).await,
            Fault::BackendsFrozen => self.server.freeze_backends(),
            Fault::PostmasterFrozen => self.server.freeze_postmaster(),
            Fault::StoppingSmartly => {
                self.server.stop_smart().await;
                if !warm {
                    // Without a session it ends, after a moment in which it answers 57P03.
                    let address = ("127.0.0.1", self.server.port());
                    wait_until("no server listens", SOON, async || {
                        TcpStream::connect(address).await.is_err()
                    })
                    .await;
                }
            }
            Fault::IdleClosed => {
                let client = self.server.client().await;
                Self::close_others(&client).await;
            }
            Fault::Saturated => return self.hold_all().await,
            Fault::TransactionAborted => {
                for mut connection in self.hold_all().await {
                    assert!(P::execute(&mut connection, "BEGIN").await);
                    assert!(!P::execute(&mut connection, "SELECT 1/0").await);
                }
            }
            Fault::PasswordChanged => {
                let session = self.session.take().expect("opened before");
                let change = "ALTER USER postgres PASSWORD 'other'";
                session.batch_execute(change).await.unwrap();
                Self::close_others(&session).await;
                self.session = Some(session);
            }
            Fault::DatabaseMissing => {
                let mut config = self.server.config();
                config.dbname("other");
                let (client, connection) = config.connect(NoTls).await.unwrap();
                tokio::spawn(connection);
                Self::close_others(&client).await;
                let rename = "ALTER DATABASE postgres RENAME TO moved";
                client.batch_execute(rename).await.unwrap();
                self.session = Some(client);
            }
            Fault::SlotsUsed => loop {
                let connected = self.server.config().connect(NoTls).await;
                let Ok((client, connection)) = connected else {
                    break;
                };
                tokio::spawn(connection);
                self.slots.push(client);
            },
        }
        Vec::new()
    }

    async fn recover(&mut self, fault: Fault) {
        let sql = match fault {
            Fault::PasswordChanged => Some("ALTER USER postgres PASSWORD 'right'"),
            Fault::DatabaseMissing => Some("ALTER DATABASE moved RENAME TO postgres"),
            _ => None,
        };
        match fault {
            Fault::Killed | Fault::StoppingSmartly => self.server.restart().await,
            Fault::Frozen
            | Fault::FrozenInUse
            | Fault::FrozenBehindPgBouncer
            | Fault::BackendsFrozen
            | Fault::PostmasterFrozen => self.server.thaw(),
            Fault::Busy => self.load.shutdown().await,
            Fault::Silent | Fault::Reset | Fault::Refused => self.proxy.set(Mode::Pass).await,
            _ => {}
        }
        if let (Some(sql), Some(session)) = (sql, self.session.take()) {
            session.batch_execute(sql).await.unwrap();
        }
        self.slots.clear();
        // PgBouncer refuses logins for a second after its login to the server failed.
        let port = self
            .bouncer
            .as_ref()
            .map_or(self.server.port(), PgBouncer::port);
        let config = self.server.config_through(port);
        wait_until("the server serves a new session", SOON, async || {
            let session = async {
                let (client, connection) = config.connect(NoTls).await.ok()?;
                tokio::spawn(connection);
                client.simple_query("SELECT 1").await.ok()
            };
            matches!(timeout(SOON, session).await, Ok(Some(_)))
        })
        .await;
    }
}

async fn row<P: PostgresPool>(turns: Rc<Semaphore>, fault: Fault, warm: bool, now: Answer) -> Row {
    let _turn = turns.acquire().await.expect("never closed");
    let mut rig = Rig::<P>::new(fault, warm).await;
    let check = rig.pool.check();
    if warm {
        assert_eq!(run(&check, UP).await, UP, "{fault:?}: healthy");
    }
    let held = rig.inflict(fault, warm).await;
    let found = runs(&check, now).await;
    drop(held);
    rig.recover(fault).await;
    let mut recovered = run(&check, UP).await;
    if fault == Fault::FrozenBehindPgBouncer {
        // PgBouncer refuses clients for a second after its own login failed.
        wait_until("the check is up", SOON, async || {
            recovered = run(&check, UP).await;
            recovered == UP
        })
        .await;
    }
    println!("{fault:?}, warm: {warm}: {found:?}, then {recovered:?}");
    works_for_the_app(&rig, &check).await;
    Row {
        fault: format!("{fault:?}"),
        warm,
        expected: expected(fault, warm),
        found,
        recovered,
    }
}

/// All connections can be used at once while the check runs.
async fn works_for_the_app<P: PostgresPool>(rig: &Rig<P>, check: &impl Check) {
    wait_until("the app is served", SOON, async || {
        run(check, UP).await;
        let mut served = 0;
        for mut connection in rig.hold_all().await {
            // An app that left its transaction aborted has to end it.
            let _ = timeout(SOON, P::execute(&mut connection, "ROLLBACK")).await;
            served += u32::from(P::execute(&mut connection, "SELECT 1").await);
        }
        served == SIZE
    })
    .await;
}

async fn all_rows<P: PostgresPool>(misses: &'static [Miss<Fault>]) {
    let turns = Rc::new(Semaphore::new(AT_ONCE));
    let mut set = JoinSet::new();
    let run = async {
        for &fault in FAULTS {
            for warm in [false, true] {
                let now = wanted(misses, (fault, warm), expected(fault, warm));
                set.spawn_local(row::<P>(turns.clone(), fault, warm, now));
            }
        }
        let mut rows = set.join_all().await;
        rows.sort_by_key(|row| {
            let index = FAULTS
                .iter()
                .position(|fault| format!("{fault:?}") == row.fault);
            (index, row.warm)
        });
        compare(P::NAME, &rows, misses);
    };
    LocalSet::new().run_until(run).await;
}

/// These pools count no checkouts, so the check cannot see that the app is served.
const UNCOUNTED: &[Miss<Fault>] = &[
    Miss {
        fault: Fault::Busy,
        warm: false,
        found: (Status::Degraded, Some(Reason::Saturated)),
    },
    Miss {
        fault: Fault::Busy,
        warm: true,
        found: (Status::Degraded, Some(Reason::Saturated)),
    },
];

/// Whether diesel's test reaches the server is learned from a checkout, and none was free for the check.
const UNLEARNED: &[Miss<Fault>] = &[Miss {
    fault: Fault::Busy,
    warm: false,
    found: (Status::Degraded, Some(Reason::Saturated)),
}];

#[tokio::test]
async fn bb8_is_the_reference() {
    type Pool = bb8::Pool<bb8_postgres::PostgresConnectionManager<NoTls>>;
    all_rows::<Pool>(&[]).await;
}

#[tokio::test]
async fn sqlx_reports_each_fault() {
    all_rows::<SqlxPool>(UNCOUNTED).await;
}

#[tokio::test]
async fn deadpool_postgres_verified_reports_each_fault() {
    all_rows::<Deadpool<true>>(UNCOUNTED).await;
}

#[tokio::test]
async fn deadpool_postgres_fast_reports_each_fault() {
    all_rows::<Deadpool<false>>(UNCOUNTED).await;
}

#[tokio::test]
async fn diesel_over_bb8_reports_each_fault() {
    all_rows::<bb8::Pool<diesel_bb8::Manager>>(UNLEARNED).await;
}

//! Each fault of a Postgres as a row.

use std::time::Duration;

use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_postgres::{Client, NoTls};
use tower_health::{Check, Reason};
use tower_health_pools::{diesel_bb8, sqlx_postgres::SqlxPool};

use crate::{
    answer::{Answer, UP, degraded, down},
    postgres_pools::{Bb8, Deadpool, PostgresPool, Untested},
    row::{Rig, SOON, all_rows, faults, run},
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
    FrozenWhileBusyBehindPgBouncer,
}

impl Fault {
    fn is_behind_pgbouncer(self) -> bool {
        matches!(
            self,
            Self::FrozenBehindPgBouncer | Self::FrozenWhileBusyBehindPgBouncer
        )
    }
}

/// What `checks::postgres` reports on a `bb8` pool. `tests`: whether the pool tests at checkout.
fn expected(fault: Fault, warm: bool, tests: bool) -> Answer {
    use Fault::*;
    match (fault, warm) {
        // Without a test, checkouts of the app do not prove that the server answers.
        (Busy, _) if !tests => degraded(Reason::Saturated),
        (Killed | Refused, _) => down(Reason::Refused),
        (Frozen | FrozenInUse | Silent, _)
        // PgBouncer answers a login by itself: new connections prove nothing.
        | (FrozenBehindPgBouncer | FrozenWhileBusyBehindPgBouncer, _)
        | (PostmasterFrozen, false) => down(Reason::Timeout),
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

struct PostgresRig<P: PostgresPool> {
    server: Postgres,
    proxy: Proxy,
    pool: P,
    /// A superuser's session from before the fault, where the end of the fault needs one.
    session: Option<Client>,
    slots: Vec<Client>,
    /// The app's requests, where the pool is busy.
    load: JoinSet<()>,
    bouncer: Option<PgBouncer>,
}

impl<P: PostgresPool> PostgresRig<P> {
    async fn keep_busy(&self, time_limit: Duration) -> JoinSet<()> {
        let request = async |mut connection| {
            P::execute(&mut connection, "SELECT pg_sleep(0.01)").await;
        };
        self.pool.keep_busy(time_limit, request).await
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
}

impl<P: PostgresPool> Rig for PostgresRig<P> {
    type Pool = P;
    type Fault = Fault;

    fn faults() -> Vec<Fault> {
        FAULTS.to_vec()
    }

    fn expected(fault: Fault, warm: bool) -> Answer {
        expected(fault, warm, P::TESTS)
    }

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
        let bouncer = match fault.is_behind_pgbouncer() {
            true => Some(PgBouncer::start(&server).await.expect("pgbouncer")),
            false => None,
        };
        // A proxy accepts before it knows that no server listens behind it.
        let port = match fault {
            Fault::Killed | Fault::Restarted | Fault::StoppingSmartly => server.port(),
            _ => bouncer.as_ref().map_or(proxy.port(), PgBouncer::port),
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
            drop(rig.pool.hold_all().await);
        }
        rig
    }

    fn pool(&self) -> &P {
        &self.pool
    }

    async fn inflict(&mut self, fault: Fault, warm: bool) -> Vec<P::Checkout> {
        match fault {
            Fault::Killed => self.server.kill(),
            Fault::Restarted => {
                self.server.kill();
                self.server.restart().await;
            }
            Fault::Frozen | Fault::FrozenBehindPgBouncer => self.server.freeze(),
            Fault::FrozenInUse => {
                let held = self.pool.hold_all().await;
                self.server.freeze();
                return held;
            }
            Fault::Busy => self.load = self.keep_busy(SOON).await,
            Fault::FrozenWhileBusyBehindPgBouncer => {
                // Pools close connections whose users give up, and log in again.
                let time_limit = Duration::from_millis(200);
                self.load = self.keep_busy(time_limit).await;
                self.server.freeze();
                // The server may have replied before: then each request of that time has ended.
                sleep(2 * time_limit).await;
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
            Fault::Saturated => return self.pool.hold_all().await,
            Fault::TransactionAborted => {
                for mut connection in self.pool.hold_all().await {
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
        self.load.shutdown().await;
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
            | Fault::FrozenWhileBusyBehindPgBouncer
            | Fault::BackendsFrozen
            | Fault::PostmasterFrozen => self.server.thaw(),
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

    async fn recovered(fault: Fault, check: &impl Check) -> Answer {
        let mut recovered = run(check, UP).await;
        if fault.is_behind_pgbouncer() {
            // PgBouncer refuses clients for a second after its own login failed.
            wait_until("the check is up", SOON, async || {
                recovered = run(check, UP).await;
                recovered == UP
            })
            .await;
        }
        recovered
    }

    async fn works(connection: &mut P::Checkout) -> bool {
        // An app that left its transaction aborted has to end it.
        let _ = timeout(SOON, P::execute(connection, "ROLLBACK")).await;
        P::execute(connection, "SELECT 1").await
    }
}

#[tokio::test]
async fn bb8_is_the_reference() {
    all_rows::<PostgresRig<Bb8>>().await;
}

/// The reference of `RecyclingMethod::Fast`, whose test does not ask the server either.
#[tokio::test]
async fn bb8_without_a_test_is_saturated_while_busy() {
    all_rows::<PostgresRig<Untested>>().await;
}

#[tokio::test]
async fn sqlx_reports_each_fault() {
    all_rows::<PostgresRig<SqlxPool>>().await;
}

#[tokio::test]
async fn deadpool_postgres_verified_reports_each_fault() {
    all_rows::<PostgresRig<Deadpool<true>>>().await;
}

#[tokio::test]
async fn deadpool_postgres_fast_reports_each_fault() {
    all_rows::<PostgresRig<Deadpool<false>>>().await;
}

#[tokio::test]
async fn diesel_over_bb8_reports_each_fault() {
    all_rows::<PostgresRig<bb8::Pool<diesel_bb8::Manager>>>().await;
}

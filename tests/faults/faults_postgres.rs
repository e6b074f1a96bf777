//! Each fault of a Postgres, as a row of the table in `fault_rows`.

use std::any::Any;

use bb8::Pool;
use tokio_postgres::{Client, NoTls};
use tower_health::{
    Reason,
    checks::{self, PostgresCheck},
};

use crate::{
    app::{Answer, PostgresManager, SOON, UP, degraded, down, hold},
    fault_rows::{Fault, Row, SIZE, Shape, fault_tests},
    support::{Mode, Postgres, wait_until},
};

/// The sessions of the pools; the test itself is `postgres`.
const APP: &str = "backend_type = 'client backend' AND usename = 'app'";

#[derive(Clone, Copy, Debug)]
enum OfPostgres {
    Killed,
    Frozen,
    Silent,
    Reset,
    Refused,
    BackendsFrozen,
    PostmasterFrozen,
    SmartShutdown,
    IdleClosed,
    Saturated,
    TransactionAborted,
    PasswordChanged,
    SlotsTaken,
    SlotsTakenAndFrozen,
}

use OfPostgres::*;

fault_tests! {
    killed: Killed,
    frozen: Frozen,
    silent: Silent,
    reset: Reset,
    refused: Refused,
    backends_frozen: BackendsFrozen,
    postmaster_frozen: PostmasterFrozen,
    smart_shutdown: SmartShutdown,
    idle_connections_closed: IdleClosed,
    saturated: Saturated,
    transaction_left_aborted: TransactionAborted,
    password_changed: PasswordChanged,
    slots_taken: SlotsTaken,
    slots_taken_and_backends_frozen: SlotsTakenAndFrozen,
}

impl Fault for OfPostgres {
    type Server = Postgres;
    type Manager = PostgresManager;
    type Check = PostgresCheck<PostgresManager>;

    async fn server(self) -> Postgres {
        let builder = Postgres::builder()
            .hba("host all postgres all trust")
            .hba("host all app all password");
        let builder = match self {
            // Those of all pools and checks, and a few.
            SlotsTaken | SlotsTakenAndFrozen => builder
                .setting("max_connections", "40")
                .setting("superuser_reserved_connections", "0"),
            _ => builder,
        };
        let server = builder.start().await;
        execute(&server, "CREATE ROLE app LOGIN PASSWORD 'word'").await;
        server
    }

    fn port(server: &Postgres) -> u16 {
        server.port()
    }

    fn manager(self, server: &Postgres, port: u16) -> PostgresManager {
        let mut config = server.config_through(port);
        config.user("app").password("word");
        PostgresManager::new(config, NoTls)
    }

    fn check(pool: &Pool<PostgresManager>) -> PostgresCheck<PostgresManager> {
        checks::postgres(pool.clone())
    }

    fn routes(self) -> Option<(Mode, Mode)> {
        match self {
            Silent => Some((Mode::Stall, Mode::Pass)),
            Reset => Some((Mode::Reset, Mode::Pass)),
            Refused => Some((Mode::Refuse, Mode::Pass)),
            _ => None,
        }
    }

    fn is_direct(self) -> bool {
        matches!(self, Killed)
    }

    async fn cause(self, server: &mut Postgres, rows: &[Row<Self>]) -> Box<dyn Any> {
        match self {
            Killed => server.kill(),
            Frozen => server.freeze(),
            BackendsFrozen => server.freeze_backends(),
            PostmasterFrozen => server.freeze_postmaster(),
            SmartShutdown => server.stop_smart().await,
            IdleClosed => end_all_sessions(server).await,
            Saturated => return Box::new(hold_all(rows, SIZE).await),
            TransactionAborted => {
                for connection in hold_all(rows, SIZE).await {
                    let failed = connection.batch_execute("BEGIN; SELECT 1/0").await;
                    failed.unwrap_err();
                }
            }
            PasswordChanged => {
                // A connection that breaks while it is checked out.
                let warm = rows.iter().filter(|row| row.shape.warm);
                let held = hold_all(warm, 1).await;
                execute(server, "ALTER ROLE app PASSWORD 'another'").await;
                end_all_sessions(server).await;
                wait_until("the checkouts are closed", SOON, async || {
                    held.iter().all(|connection| connection.is_closed())
                })
                .await;
                return Box::new(held);
            }
            SlotsTaken => return Box::new(take_all_slots(server).await),
            SlotsTakenAndFrozen => {
                let taken = take_all_slots(server).await;
                server.freeze_backends();
                return Box::new(taken);
            }
            Silent | Reset | Refused => unreachable!("a fault of the route"),
        }
        Box::new(())
    }

    async fn end(self, server: &mut Postgres, rows: &[Row<Self>]) {
        match self {
            Killed | SmartShutdown => server.restart().await,
            Frozen | BackendsFrozen | PostmasterFrozen | SlotsTakenAndFrozen => server.thaw(),
            // An app that left its transaction aborted has to end it.
            TransactionAborted => {
                for connection in hold_all(rows, SIZE).await {
                    connection.batch_execute("ROLLBACK").await.unwrap();
                }
            }
            PasswordChanged => execute(server, "ALTER ROLE app PASSWORD 'word'").await,
            _ => {}
        }
        wait_until("the server answers", SOON, async || {
            server.config().connect(NoTls).await.is_ok()
        })
        .await;
    }

    fn expected(self, shape: Shape) -> Answer {
        match (self, shape.warm) {
            (Killed | Refused, _) => down(Reason::Refused),
            (Frozen | Silent, _) | (PostmasterFrozen, false) => down(Reason::Timeout),
            (Reset, _) => down(Reason::Reset),
            (BackendsFrozen, true) => down(Reason::PoolStuck),
            // The warm pools keep the server from its end.
            (SmartShutdown, false) => down(Reason::Loading),
            (PasswordChanged, _) => down(Reason::Auth),
            (SlotsTaken, false) | (SlotsTakenAndFrozen, _) => down(Reason::Exhausted),
            (Saturated, _) => degraded(Reason::Saturated),
            (BackendsFrozen, false)
            | (PostmasterFrozen | SmartShutdown | SlotsTaken, true)
            | (IdleClosed | TransactionAborted, _) => UP,
        }
    }

    fn is_slow_to_recover(self) -> bool {
        // The server frees a slot some time after its client has gone.
        matches!(self, SlotsTaken | SlotsTakenAndFrozen)
    }
}

type Checkout = bb8::PooledConnection<'static, PostgresManager>;

async fn hold_all<'a>(
    rows: impl IntoIterator<Item = &'a Row<OfPostgres>>,
    count: u32,
) -> Vec<Checkout> {
    let mut held = Vec::new();
    for row in rows {
        held.extend(hold(&row.pool, count).await);
    }
    held
}

async fn execute(server: &Postgres, sql: &str) {
    server.client().await.batch_execute(sql).await.unwrap();
}

async fn end_all_sessions(server: &Postgres) {
    let client = server.client().await;
    let end = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {APP}");
    client.simple_query(&end).await.unwrap();
    let count = format!("SELECT count(*) FROM pg_stat_activity WHERE {APP}");
    wait_until("all have ended", SOON, async || {
        let row = client.query_one(&count, &[]).await.unwrap();
        row.get::<_, i64>(0) == 0
    })
    .await;
}

async fn take_all_slots(server: &Postgres) -> Vec<Client> {
    let mut taken = Vec::new();
    while let Ok((client, connection)) = server.config().connect(NoTls).await {
        tokio::spawn(connection);
        taken.push(client);
    }
    taken
}

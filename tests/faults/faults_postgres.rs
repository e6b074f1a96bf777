//! Each fault of a Postgres, as a row of the table in `fault_rows`.

use std::any::Any;

use bb8::Pool;
use tokio_postgres::NoTls;
use tower_health::{
    Reason,
    checks::{self, PostgresCheck},
};

use crate::{
    app::{Answer, PostgresManager, SOON, UP, degraded, down},
    fault_rows::{Fault, Row, SIZE, Shape, faults, hold_all, set, take_all_slots},
    support::{Mode, Postgres, wait_until},
};

/// The sessions of the pools; the test itself is `postgres`.
const APP: &str = "backend_type = 'client backend' AND usename = 'app'";

faults! { OfPostgres:
    killed = Killed,
    frozen = Frozen,
    reset = Reset,
    backends_frozen = BackendsFrozen,
    postmaster_frozen = PostmasterFrozen,
    smart_shutdown = SmartShutdown,
    idle_connections_closed = IdleClosed,
    saturated = Saturated,
    password_changed = PasswordChanged,
    slots_taken = SlotsTaken,
    slots_taken_and_backends_frozen = SlotsTakenAndFrozen,
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

    fn is_direct(self) -> bool {
        self == Killed
    }

    async fn cause(self, server: &mut Postgres, rows: &[Row<Self>]) -> Box<dyn Any> {
        match self {
            Killed => server.kill(),
            Frozen => server.freeze(),
            Reset => set(rows, Mode::Reset).await,
            BackendsFrozen => server.freeze_backends(),
            PostmasterFrozen => server.freeze_postmaster(),
            SmartShutdown => server.stop_smart().await,
            IdleClosed => end_all_sessions(server).await,
            Saturated => return Box::new(hold_all(rows, SIZE).await),
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
            SlotsTaken | SlotsTakenAndFrozen => {
                let taken = take_all_slots(self.manager(server, server.port())).await;
                if self == SlotsTakenAndFrozen {
                    server.freeze_backends();
                }
                return Box::new(taken);
            }
        }
        Box::new(())
    }

    async fn end(self, server: &mut Postgres, rows: &[Row<Self>]) {
        match self {
            Killed | SmartShutdown => server.restart().await,
            Frozen | BackendsFrozen | PostmasterFrozen | SlotsTakenAndFrozen => server.thaw(),
            Reset => set(rows, Mode::Pass).await,
            PasswordChanged => execute(server, "ALTER ROLE app PASSWORD 'word'").await,
            IdleClosed | Saturated | SlotsTaken => {}
        }
    }

    fn expected(self, shape: Shape) -> Answer {
        match (self, shape.warm) {
            (Killed, _) => down(Reason::Refused),
            (Frozen, _) | (PostmasterFrozen, false) => down(Reason::Timeout),
            (Reset, _) => down(Reason::Reset),
            (BackendsFrozen, true) => down(Reason::PoolStuck),
            // The warm pools keep the server from its end.
            (SmartShutdown, false) => down(Reason::Loading),
            (PasswordChanged, _) => down(Reason::Auth),
            (SlotsTaken, false) | (SlotsTakenAndFrozen, _) => down(Reason::Exhausted),
            (Saturated, _) => degraded(Reason::Saturated),
            (BackendsFrozen, false)
            | (PostmasterFrozen | SmartShutdown | SlotsTaken, true)
            | (IdleClosed, _) => UP,
        }
    }

    fn is_slow_to_recover(self) -> bool {
        // The server frees a slot some time after its client has gone.
        matches!(self, SlotsTaken | SlotsTakenAndFrozen)
    }
}

async fn execute(server: &Postgres, sql: &str) {
    server.client().await.batch_execute(sql).await.unwrap();
}

async fn end_all_sessions(server: &Postgres) {
    let client = server.client().await;
    let end = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {APP}");
    wait_until("all have ended", SOON, async || {
        client.query(&end, &[]).await.unwrap().is_empty()
    })
    .await;
}

//! Each fault of a Postgres, as a row of the table in `fault_rows`.

use bb8::Pool;
use tokio::time::timeout;
use tokio_postgres::NoTls;
use tower_health::{Check, Reason, checks};

use crate::{
    app::{Answer, PostgresManager, SOON, UP, degraded, down, hold},
    fault_rows::{Checkouts, Fault, Rig, SIZE, Shape, fault_tests},
    support::{Mode, Postgres, wait_until},
};

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
}

impl Fault for OfPostgres {
    type Server = Postgres;
    type Manager = PostgresManager;

    async fn server(self) -> Postgres {
        Postgres::start().await
    }

    fn port(server: &Postgres) -> u16 {
        server.port()
    }

    fn manager(server: &Postgres, port: u16) -> PostgresManager {
        PostgresManager::new(server.config_through(port), NoTls)
    }

    fn check(pool: &Pool<PostgresManager>) -> impl Check + use<> {
        checks::postgres(pool.clone())
    }

    fn route(self) -> Option<Mode> {
        match self {
            Silent => Some(Mode::Stall),
            Reset => Some(Mode::Reset),
            Refused => Some(Mode::Refuse),
            _ => None,
        }
    }

    fn is_of_the_server(self) -> bool {
        self.route().is_none() && !matches!(self, Saturated | TransactionAborted)
    }

    fn is_direct(self) -> bool {
        matches!(self, Killed | SmartShutdown)
    }

    async fn cause(self, rig: &mut Rig<Self>) -> Checkouts<PostgresManager> {
        match self {
            Killed => rig.own_server().kill(),
            Frozen => rig.server.freeze(),
            BackendsFrozen => rig.server.freeze_backends(),
            PostmasterFrozen => rig.server.freeze_postmaster(),
            SmartShutdown => rig.server.stop_smart().await,
            IdleClosed => end_all_backends(&rig.server).await,
            Saturated => return hold(&rig.pool, SIZE).await,
            TransactionAborted => {
                for connection in hold(&rig.pool, SIZE).await {
                    let failed = connection.batch_execute("BEGIN; SELECT 1/0").await;
                    failed.unwrap_err();
                }
            }
            Silent | Reset | Refused => unreachable!("a fault of the route"),
        }
        Vec::new()
    }

    async fn end(self, rig: &mut Rig<Self>) {
        match self {
            Killed | SmartShutdown => rig.own_server().restart().await,
            Frozen | BackendsFrozen | PostmasterFrozen => rig.server.thaw(),
            // An app that left its transaction aborted has to end it.
            TransactionAborted => {
                for connection in hold(&rig.pool, SIZE).await {
                    connection.batch_execute("ROLLBACK").await.unwrap();
                }
            }
            _ => {}
        }
        timeout(SOON, rig.server.client()).await.unwrap();
    }

    fn expected(self, shape: Shape) -> Answer {
        match (self, shape.warm) {
            (Killed | Refused, _) | (SmartShutdown, false) => down(Reason::Refused),
            (Frozen | Silent, _) | (PostmasterFrozen, false) => down(Reason::Timeout),
            (Reset, _) => down(Reason::Reset),
            (BackendsFrozen, true) => down(Reason::PoolStuck),
            (Saturated, _) => degraded(Reason::Saturated),
            (BackendsFrozen, false)
            | (PostmasterFrozen | SmartShutdown, true)
            | (IdleClosed | TransactionAborted, _) => UP,
        }
    }
}

/// Ends every connection but its own.
async fn end_all_backends(server: &Postgres) {
    let client = server.client().await;
    let others = "FROM pg_stat_activity \
                  WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'";
    let end = format!("SELECT pg_terminate_backend(pid) {others}");
    client.simple_query(&end).await.unwrap();
    let count = format!("SELECT count(*) {others}");
    wait_until("all have ended", SOON, async || {
        let row = client.query_one(&count, &[]).await.unwrap();
        row.get::<_, i64>(0) == 0
    })
    .await;
}

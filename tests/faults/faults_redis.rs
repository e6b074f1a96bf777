//! Each fault of a Redis, as a row of the table in `fault_rows`.

use std::{any::Any, fs};

use bb8::Pool;
use bb8_redis::{
    RedisConnectionManager,
    redis::{Client, aio::MultiplexedConnection, cmd},
};
use tower_health::{
    Reason,
    checks::{self, RedisCheck},
};

use crate::{
    app::{Answer, SOON, UP, command, command_of, degraded, down, hold, run},
    fault_rows::{Fault, Row, SIZE, Shape, fault_tests, set},
    support::{Mode, Redis, unused_port, wait_until},
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum OfRedis {
    Killed,
    Restarted,
    Frozen,
    Silent,
    SilentForGood,
    Reset,
    Refused,
    Saturated,
    Paused,
    PasswordSet,
    PingForbidden,
    SavingFailed,
    PrimaryLost,
    ReadOnly,
    OutOfMemory,
    ScriptRuns,
    UserDeleted,
    SlotsTaken,
}

use OfRedis::*;

fault_tests! {
    killed: Killed,
    restarted: Restarted,
    frozen: Frozen,
    silent: Silent,
    silent_for_good: SilentForGood,
    reset: Reset,
    refused: Refused,
    saturated: Saturated,
    paused: Paused,
    password_set: PasswordSet,
    ping_forbidden: PingForbidden,
    saving_failed: SavingFailed,
    primary_lost: PrimaryLost,
    read_only: ReadOnly,
    out_of_memory: OutOfMemory,
    script_runs: ScriptRuns,
    user_deleted: UserDeleted,
    slots_taken: SlotsTaken,
}

/// Whether the pool neither tests its connections nor learns that they are broken.
fn keeps_broken(shape: Shape) -> bool {
    !shape.tested && shape.warm
}

impl Fault for OfRedis {
    type Server = Redis;
    type Manager = RedisConnectionManager;
    type Check = RedisCheck<RedisConnectionManager>;

    async fn server(self) -> Redis {
        let builder = Redis::builder();
        let builder = match self {
            PingForbidden => builder.config_line("user default on nopass ~* &* +@all"),
            PrimaryLost => builder.arg("--replica-serve-stale-data", "no"),
            SavingFailed => builder.arg("--enable-protected-configs", "yes"),
            UserDeleted => builder.config_line("user app on >word ~* &* +@all"),
            // Those of all pools and checks, and a few.
            SlotsTaken => builder.arg("--maxclients", "40"),
            _ => builder,
        };
        builder.start().await
    }

    fn port(server: &Redis) -> u16 {
        server.port()
    }

    fn manager(self, server: &Redis, port: u16) -> RedisConnectionManager {
        let url = match self {
            UserDeleted => format!("redis://app:word@127.0.0.1:{port}/"),
            _ => server.url_through(port),
        };
        RedisConnectionManager::new(url).unwrap()
    }

    fn check(pool: &Pool<RedisConnectionManager>) -> Self::Check {
        checks::redis(pool.clone())
    }

    fn routes(self) -> Option<(Mode, Mode)> {
        match self {
            Silent => Some((Mode::Stall, Mode::Pass)),
            SilentForGood => Some((Mode::Stall, Mode::StallExisting)),
            Reset => Some((Mode::Reset, Mode::Pass)),
            Refused => Some((Mode::Refuse, Mode::Pass)),
            _ => None,
        }
    }

    fn is_direct(self) -> bool {
        self == Killed
    }

    async fn cause(self, server: &mut Redis, rows: &[Row<Self>]) -> Box<dyn Any> {
        match self {
            Killed => server.kill(),
            Restarted => server.restart().await,
            Frozen => server.freeze(),
            // Longer than three runs take on a busy machine.
            Paused => command(server, "CLIENT PAUSE 8000 ALL").await,
            PasswordSet => {
                command(server, "CONFIG SET requirepass word").await;
                // Connections that are logged in stay so; those of the app have to log in again.
                set(rows, Mode::Reset).await;
                set(rows, Mode::Pass).await;
            }
            PingForbidden => command(server, "ACL SETUSER default -ping").await,
            SavingFailed => fail_to_save(server).await,
            PrimaryLost | ReadOnly => {
                command(server, &format!("REPLICAOF 127.0.0.1 {}", unused_port())).await;
            }
            OutOfMemory => command(server, "CONFIG SET maxmemory 1").await,
            ScriptRuns => run_script(server).await,
            UserDeleted => command(server, "ACL DELUSER app").await,
            SlotsTaken => return Box::new(take_all_slots(server).await),
            Saturated => {
                let mut held = Vec::new();
                for row in rows {
                    held.extend(hold(&row.pool, SIZE).await);
                }
                return Box::new(held);
            }
            Silent | SilentForGood | Reset | Refused => unreachable!("a fault of the route"),
        }
        Box::new(())
    }

    async fn end(self, server: &mut Redis, _: &[Row<Self>]) {
        match self {
            Killed => server.restart().await,
            Frozen => server.thaw(),
            PasswordSet => {
                let url = format!("redis://:word@127.0.0.1:{}/", server.port());
                let client = Client::open(url).unwrap();
                let mut connection = client.get_multiplexed_async_connection().await.unwrap();
                let mut reset = cmd("CONFIG");
                reset.arg(&["SET", "requirepass", ""]);
                reset.exec_async(&mut connection).await.unwrap();
            }
            PingForbidden => command(server, "ACL SETUSER default +ping").await,
            SavingFailed => command_of(server, &["CONFIG", "SET", "save", ""]).await,
            PrimaryLost | ReadOnly => command(server, "REPLICAOF NO ONE").await,
            OutOfMemory => command(server, "CONFIG SET maxmemory 0").await,
            ScriptRuns => command(server, "SCRIPT KILL").await,
            UserDeleted => command(server, "ACL SETUSER app on >word ~* &* +@all").await,
            // A pause ends without a command, and takes none before.
            _ => {}
        }
        wait_until("the server answers", SOON, async || {
            connect(server).await.is_some()
        })
        .await;
    }

    fn expected(self, shape: Shape) -> Answer {
        match self {
            Killed | Refused => down(Reason::Refused),
            Frozen | Silent | SilentForGood | Paused => down(Reason::Timeout),
            Reset => down(Reason::Reset),
            Saturated => degraded(Reason::Saturated),
            PasswordSet | UserDeleted => down(Reason::Auth),
            SlotsTaken if !shape.warm => down(Reason::Reset),
            // The test of the pool never passes, so the app gets no connection.
            PingForbidden if shape.tested => down(Reason::Rejected),
            PingForbidden => degraded(Reason::Rejected),
            SavingFailed => down(Reason::Misconfigured),
            PrimaryLost => down(Reason::NoPrimary),
            ScriptRuns => down(Reason::Busy),
            Restarted if keeps_broken(shape) => down(Reason::PoolStuck),
            Restarted | ReadOnly | OutOfMemory | SlotsTaken => UP,
        }
    }

    fn recovered(self, shape: Shape) -> Vec<Answer> {
        match self {
            // Silent connections stay in the pool.
            SilentForGood if shape.warm => {
                vec![UP, degraded(Reason::PoolStuck), down(Reason::PoolStuck)]
            }
            // The connections are broken, and the pool keeps them.
            Killed | Refused | Reset | PasswordSet | UserDeleted | Restarted
                if keeps_broken(shape) =>
            {
                vec![down(Reason::PoolStuck)]
            }
            _ => vec![UP],
        }
    }

    fn is_slow_to_recover(self) -> bool {
        // A connect of before ends with the limit of the driver, after 1 s, and a slot is free some time
        // after its client has gone.
        matches!(self, SilentForGood | SlotsTaken)
    }

    async fn repair(self, pool: &Pool<RedisConnectionManager>, shape: Shape) -> bool {
        if keeps_broken(shape) {
            run(&checks::redis(pool.clone()).repair_pool()).await;
        }
        self != SilentForGood || !keeps_broken(shape)
    }
}

/// A connection on which the server answers.
async fn connect(server: &Redis) -> Option<MultiplexedConnection> {
    let client = Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.ok()?;
    cmd("PING").exec_async(&mut connection).await.ok()?;
    Some(connection)
}

async fn take_all_slots(server: &Redis) -> Vec<MultiplexedConnection> {
    let mut taken = Vec::new();
    while let Some(connection) = connect(server).await {
        taken.push(connection);
    }
    taken
}

/// Makes Redis refuse writes because it cannot save: the folder that it entered is gone.
async fn fail_to_save(server: &Redis) {
    let gone = server.directory().join("gone");
    fs::create_dir_all(&gone).unwrap();
    command(server, &format!("CONFIG SET dir {}", gone.display())).await;
    command_of(server, &["CONFIG", "SET", "save", "3600 1"]).await;
    command(server, "SET a b").await;
    fs::remove_dir_all(&gone).unwrap();
    let mut connection = server.connection().await;
    let _ = cmd("BGSAVE").exec_async(&mut connection).await;
    wait_until("the save fails", SOON, async || {
        let mut info = cmd("INFO");
        let info = info.arg("persistence").query_async(&mut connection);
        let info: String = info.await.unwrap();
        info.contains("rdb_last_bgsave_status:err")
    })
    .await;
}

/// Occupies Redis with a script that does not end.
async fn run_script(server: &Redis) {
    command(server, "CONFIG SET busy-reply-threshold 1").await;
    let mut connection = server.connection().await;
    tokio::spawn(async move {
        let mut script = cmd("EVAL");
        script.arg("while true do end").arg(0);
        script.exec_async(&mut connection).await
    });
    let mut other = server.connection().await;
    wait_until("the script runs", SOON, async || {
        let ping = cmd("PING").exec_async(&mut other).await;
        ping.is_err_and(|error| error.code() == Some("BUSY"))
    })
    .await;
}

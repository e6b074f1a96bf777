//! Each fault of a Redis, as a row of the table in `fault_rows`.

use std::fs;

use bb8::Pool;
use bb8_redis::{
    RedisConnectionManager,
    redis::{Client, cmd},
};
use tower_health::{Check, Reason, checks};

use crate::{
    app::{Answer, SOON, UP, command, command_of, degraded, down, hold, run},
    fault_rows::{Checkouts, Fault, Rig, SIZE, Shape, fault_tests},
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
}

/// Whether the pool neither tests its connections nor learns that they are broken.
fn keeps_broken(shape: Shape) -> bool {
    !shape.tested && shape.warm
}

impl Fault for OfRedis {
    type Server = Redis;
    type Manager = RedisConnectionManager;

    async fn server(self) -> Redis {
        let builder = Redis::builder();
        let builder = match self {
            PingForbidden => builder.config_line("user default on nopass ~* &* +@all"),
            PrimaryLost => builder.arg("--replica-serve-stale-data", "no"),
            SavingFailed => builder.arg("--enable-protected-configs", "yes"),
            _ => builder,
        };
        builder.start().await
    }

    fn port(server: &Redis) -> u16 {
        server.port()
    }

    fn manager(server: &Redis, port: u16) -> RedisConnectionManager {
        RedisConnectionManager::new(server.url_through(port)).unwrap()
    }

    fn check(pool: &Pool<RedisConnectionManager>) -> impl Check + use<> {
        checks::redis(pool.clone())
    }

    fn route(self) -> Option<Mode> {
        match self {
            Silent | SilentForGood => Some(Mode::Stall),
            Reset => Some(Mode::Reset),
            Refused => Some(Mode::Refuse),
            _ => None,
        }
    }

    fn route_afterwards(self) -> Mode {
        match self {
            SilentForGood => Mode::StallExisting,
            _ => Mode::Pass,
        }
    }

    fn is_of_the_server(self) -> bool {
        self.route().is_none() && self != Saturated
    }

    fn is_direct(self) -> bool {
        self == Killed
    }

    async fn cause(self, rig: &mut Rig<Self>) -> Checkouts<RedisConnectionManager> {
        if self == Saturated {
            return hold(&rig.pool, SIZE).await;
        }
        let server = rig.own_server();
        match self {
            Killed => server.kill(),
            Restarted => server.restart().await,
            Frozen => server.freeze(),
            // Longer than three runs take on a busy machine.
            Paused => command(server, "CLIENT PAUSE 8000 ALL").await,
            PasswordSet => {
                command(server, "CONFIG SET requirepass word").await;
                // Connections that are logged in stay so; those of the app have to log in again.
                rig.proxy.set(Mode::Reset).await;
                rig.proxy.set(Mode::Pass).await;
            }
            PingForbidden => command(server, "ACL SETUSER default -ping").await,
            SavingFailed => fail_to_save(server).await,
            PrimaryLost | ReadOnly => {
                command(server, &format!("REPLICAOF 127.0.0.1 {}", unused_port())).await;
            }
            OutOfMemory => command(server, "CONFIG SET maxmemory 1").await,
            ScriptRuns => run_script(server).await,
            Silent | SilentForGood | Reset | Refused | Saturated => {
                unreachable!("not of the server")
            }
        }
        Vec::new()
    }

    async fn end(self, rig: &mut Rig<Self>) {
        let server = &rig.server;
        match self {
            Killed => rig.own_server().restart().await,
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
            // A pause ends without a command, and takes none before.
            Silent | SilentForGood | Reset | Refused | Restarted | Saturated | Paused => {}
        }
        let mut connection = rig.server.connection().await;
        wait_until("the server answers", SOON, async || {
            cmd("PING").exec_async(&mut connection).await.is_ok()
        })
        .await;
    }

    fn expected(self, shape: Shape) -> Answer {
        match self {
            Killed | Refused => down(Reason::Refused),
            Frozen | Silent | SilentForGood | Paused => down(Reason::Timeout),
            Reset => down(Reason::Reset),
            Saturated => degraded(Reason::Saturated),
            PasswordSet => down(Reason::Auth),
            // The test of the pool never passes, so the app gets no connection.
            PingForbidden if shape.tested => down(Reason::Rejected),
            PingForbidden => degraded(Reason::Rejected),
            SavingFailed => down(Reason::Misconfigured),
            PrimaryLost => down(Reason::NoPrimary),
            ScriptRuns => down(Reason::Busy),
            Restarted if keeps_broken(shape) => down(Reason::PoolStuck),
            Restarted | ReadOnly | OutOfMemory => UP,
        }
    }

    fn recovered(self, shape: Shape) -> Vec<Answer> {
        match self {
            // Silent connections stay in the pool.
            SilentForGood if shape.warm => {
                vec![UP, degraded(Reason::PoolStuck), down(Reason::PoolStuck)]
            }
            // The connections are broken, and the pool keeps them.
            Killed | Refused | Reset | PasswordSet | Restarted if keeps_broken(shape) => {
                vec![down(Reason::PoolStuck)]
            }
            _ => vec![UP],
        }
    }

    fn is_slow_to_recover(self) -> bool {
        // A connect of before ends with the limit of the driver, after 1 s.
        self == SilentForGood
    }

    async fn repair(self, pool: &Pool<RedisConnectionManager>, shape: Shape) -> bool {
        if keeps_broken(shape) {
            run(&checks::redis(pool.clone()).repair_pool()).await;
        }
        self != SilentForGood || !keeps_broken(shape)
    }
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

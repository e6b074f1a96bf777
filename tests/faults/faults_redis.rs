//! Each fault of a Redis, as a row of the table in `fault_rows`.

use std::{any::Any, fs};

use bb8::Pool;
use bb8_redis::{
    RedisConnectionManager,
    redis::{Client, Cmd, aio::MultiplexedConnection, cmd},
};
use tower_health::{
    Reason,
    checks::{self, RedisCheck},
};

use crate::{
    app::{Answer, SOON, UP, command, degraded, down, run},
    fault_rows::{Fault, Row, SIZE, Shape, faults, hold_all, set, take_all_slots},
    support::{Mode, Redis, unused_port, wait_until},
};

faults! { OfRedis:
    killed = Killed,
    frozen = Frozen,
    silent_for_good = SilentForGood,
    reset = Reset,
    saturated = Saturated,
    password_set = PasswordSet,
    ping_forbidden = PingForbidden,
    saving_failed = SavingFailed,
    primary_lost = PrimaryLost,
    loading = Loading,
    script_runs = ScriptRuns,
    user_deleted = UserDeleted,
    slots_taken = SlotsTaken,
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
            PrimaryLost => builder.arg("--replica-serve-stale-data", "no"),
            SavingFailed => builder
                .arg("--enable-protected-configs", "yes")
                .arg("--save", "3600 1"),
            Loading => builder
                .arg("--enable-debug-command", "yes")
                .arg("--loading-process-events-interval-bytes", "1024"),
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

    fn is_direct(self) -> bool {
        self == Killed
    }

    async fn cause(self, server: &mut Redis, rows: &[Row<Self>]) -> Box<dyn Any> {
        match self {
            Killed => server.kill(),
            Frozen => server.freeze(),
            SilentForGood => set(rows, Mode::Stall).await,
            Reset => set(rows, Mode::Reset).await,
            PasswordSet => {
                command(server, "CONFIG SET requirepass word").await;
                // Connections that are logged in stay so; those of the app have to log in again.
                set(rows, Mode::Reset).await;
                set(rows, Mode::Pass).await;
            }
            PingForbidden => command(server, "ACL SETUSER default -ping").await,
            SavingFailed => fail_to_save(server).await,
            PrimaryLost => {
                command(server, &format!("REPLICAOF 127.0.0.1 {}", unused_port())).await;
            }
            Loading => {
                command(server, "DEBUG POPULATE 3000 key 2000").await;
                command(server, "CONFIG SET key-load-delay 10000").await;
                occupy(server, cmd("DEBUG").arg("RELOAD"), "LOADING").await;
            }
            ScriptRuns => {
                command(server, "CONFIG SET busy-reply-threshold 1").await;
                let script = "while true do end";
                occupy(server, cmd("EVAL").arg(script).arg(0), "BUSY").await;
            }
            UserDeleted => command(server, "ACL DELUSER app").await,
            SlotsTaken => {
                return Box::new(take_all_slots(self.manager(server, server.port())).await);
            }
            Saturated => return Box::new(hold_all(rows, SIZE).await),
        }
        Box::new(())
    }

    async fn end(self, server: &mut Redis, rows: &[Row<Self>]) {
        match self {
            Killed => server.restart().await,
            Frozen => server.thaw(),
            // Directly: a login that passes in between would be silenced after it.
            SilentForGood => set(rows, Mode::StallExisting).await,
            Reset => set(rows, Mode::Pass).await,
            PasswordSet => {
                let url = format!("redis://:word@127.0.0.1:{}/", server.port());
                let client = Client::open(url).unwrap();
                let mut connection = client.get_multiplexed_async_connection().await.unwrap();
                let mut reset = cmd("CONFIG");
                reset.arg(&["SET", "requirepass", ""]);
                reset.exec_async(&mut connection).await.unwrap();
            }
            PingForbidden => command(server, "ACL SETUSER default +ping").await,
            // With an empty argument.
            SavingFailed => command(server, "CONFIG SET save ").await,
            PrimaryLost => command(server, "REPLICAOF NO ONE").await,
            Loading => command(server, "CONFIG SET key-load-delay 0").await,
            ScriptRuns => command(server, "SCRIPT KILL").await,
            UserDeleted => command(server, "ACL SETUSER app on >word ~* &* +@all").await,
            Saturated | SlotsTaken => {}
        }
    }

    fn expected(self, shape: Shape) -> Answer {
        match self {
            Killed => down(Reason::Refused),
            Frozen | SilentForGood => down(Reason::Timeout),
            Reset => down(Reason::Reset),
            Saturated => degraded(Reason::Saturated),
            PasswordSet | UserDeleted => down(Reason::Auth),
            SlotsTaken if !shape.warm => down(Reason::Reset),
            SlotsTaken => UP,
            // The test of the pool never passes, so the app gets no connection.
            PingForbidden if shape.tested => down(Reason::Rejected),
            PingForbidden => degraded(Reason::Rejected),
            SavingFailed => down(Reason::Misconfigured),
            PrimaryLost => down(Reason::NoPrimary),
            Loading => down(Reason::Loading),
            ScriptRuns => down(Reason::Busy),
        }
    }

    fn recovered(self, shape: Shape) -> Vec<Answer> {
        match self {
            // Silent connections stay in the pool.
            SilentForGood if shape.warm => {
                vec![UP, degraded(Reason::PoolStuck), down(Reason::PoolStuck)]
            }
            // The connections are broken, and the pool keeps them.
            Killed | Reset | PasswordSet | UserDeleted if keeps_broken(shape) => {
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

/// Makes Redis refuse writes because it cannot save: the folder that it entered is gone.
async fn fail_to_save(server: &Redis) {
    let gone = server.directory().join("gone");
    fs::create_dir_all(&gone).unwrap();
    command(server, &format!("CONFIG SET dir {}", gone.display())).await;
    command(server, "SET a b").await;
    fs::remove_dir_all(&gone).unwrap();
    let mut connection = server.connection().await;
    let _ = cmd("BGSAVE").exec_async(&mut connection).await;
    until_ping_is(connection, "MISCONF").await;
}

/// Sends a command that takes long, and waits until all others are refused with `code`.
async fn occupy(server: &Redis, command: &mut Cmd, code: &str) {
    let (mut connection, other) = (server.connection().await, server.connection().await);
    let command = command.clone();
    tokio::spawn(async move { command.exec_async(&mut connection).await });
    until_ping_is(other, code).await;
}

async fn until_ping_is(mut connection: MultiplexedConnection, code: &str) {
    wait_until(code, SOON, async || {
        let ping = cmd("PING").exec_async(&mut connection).await;
        ping.is_err_and(|error| error.code() == Some(code))
    })
    .await;
}

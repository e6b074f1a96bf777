//! Each fault of a Redis as a row.

use std::fs;

use redis::cmd;
use tokio::task::{JoinSet, spawn_local};
use tower_health::Reason;
use tower_health_pools::connection_manager::SharedConnection;

use crate::{
    answer::{Answer, UP, degraded, down},
    redis_pools::{Deadpool, RedisPool},
    row::{Rig, SOON, all_rows, faults},
    support::{Mode, Proxy, Redis, unused_port, wait_until},
};

faults! {
    Killed,
    Restarted,
    Frozen,
    Silent,
    Reset,
    Refused,
    Saturated,
    FrozenInUse,
    Busy,
    Paused,
    PasswordSet,
    PingForbidden,
    SavingFailed,
    PrimaryLost,
    ReadOnly,
    OutOfMemory,
    ScriptRuns,
}

struct RedisRig<P: RedisPool> {
    server: Redis,
    proxy: Proxy,
    pool: P,
    /// The app's requests, where the pool is busy.
    load: JoinSet<()>,
}

impl<P: RedisPool> RedisRig<P> {
    async fn send(&self, words: &[&str]) {
        let mut connection = self.server.connection().await;
        let mut command = cmd(words[0]);
        command.arg(&words[1..]);
        command.exec_async(&mut connection).await.unwrap();
    }

    async fn fail_to_save(&self) {
        let gone = self.server.directory().join("gone");
        fs::create_dir_all(&gone).unwrap();
        self.send(&["CONFIG", "SET", "dir", gone.to_str().unwrap()])
            .await;
        self.send(&["CONFIG", "SET", "save", "3600 1"]).await;
        self.send(&["SET", "a", "b"]).await;
        fs::remove_dir_all(&gone).unwrap();
        let mut connection = self.server.connection().await;
        let _: Result<(), _> = cmd("BGSAVE").exec_async(&mut connection).await;
        wait_until("the save fails", SOON, async || {
            let mut info = cmd("INFO");
            info.arg("persistence");
            let info: String = info.query_async(&mut connection).await.unwrap();
            info.contains("rdb_last_bgsave_status:err")
        })
        .await;
    }

    async fn run_script(&self) {
        self.send(&["CONFIG", "SET", "busy-reply-threshold", "1"])
            .await;
        let mut connection = self.server.connection().await;
        spawn_local(async move {
            let mut script = cmd("EVAL");
            script.arg("while true do end").arg(0);
            let _: Result<(), _> = script.exec_async(&mut connection).await;
        });
        let mut other = self.server.connection().await;
        wait_until("the script runs", SOON, async || {
            let pinged = cmd("PING").exec_async(&mut other).await;
            pinged.is_err_and(|error| error.code() == Some("BUSY"))
        })
        .await;
    }
}

impl<P: RedisPool> Rig for RedisRig<P> {
    type Pool = P;
    type Fault = Fault;

    fn faults() -> Vec<Fault> {
        let in_use = [Fault::Saturated, Fault::FrozenInUse, Fault::Busy];
        let mut faults = FAULTS.to_vec();
        faults.retain(|fault| P::CAN_SATURATE || !in_use.contains(fault));
        faults
    }

    /// What `checks::redis` reports on a `bb8` pool that tests at checkout.
    fn expected(fault: Fault, _warm: bool) -> Answer {
        use Fault::*;
        match fault {
            Killed | Refused => down(Reason::Refused),
            Frozen | FrozenInUse | Silent | Paused => down(Reason::Timeout),
            Reset => down(Reason::Reset),
            Saturated => degraded(Reason::Saturated),
            PasswordSet => down(Reason::Auth),
            PingForbidden if P::NEEDS_PING => down(Reason::Rejected),
            PingForbidden => degraded(Reason::Rejected),
            SavingFailed => down(Reason::Misconfigured),
            PrimaryLost => down(Reason::NoPrimary),
            ScriptRuns => down(Reason::Busy),
            Restarted | Busy | ReadOnly | OutOfMemory => UP,
        }
    }

    async fn new(fault: Fault, warm: bool) -> Self {
        let server = match fault {
            Fault::PingForbidden => {
                Redis::builder().config_line("user default on nopass ~* &* +@all")
            }
            Fault::PrimaryLost => Redis::builder().arg("--replica-serve-stale-data", "no"),
            Fault::SavingFailed => Redis::builder().arg("--enable-protected-configs", "yes"),
            _ => Redis::builder(),
        };
        let server = server.start().await;
        let proxy = Proxy::start(server.port()).await;
        // A proxy accepts before it knows that no server listens behind it.
        let port = match fault {
            Fault::Killed => server.port(),
            _ => proxy.port(),
        };
        let rig = Self {
            pool: P::new(&server, port),
            server,
            proxy,
            load: JoinSet::new(),
        };
        if warm {
            for mut checkout in rig.pool.hold_all().await {
                assert!(P::execute(&mut checkout, &cmd("PING")).await);
            }
        }
        rig
    }

    fn pool(&self) -> &P {
        &self.pool
    }

    async fn inflict(&mut self, fault: Fault, _warm: bool) -> Vec<P::Checkout> {
        match fault {
            Fault::Killed => self.server.kill(),
            Fault::Restarted => self.server.restart().await,
            Fault::Frozen => self.server.freeze(),
            Fault::FrozenInUse => {
                let held = self.pool.hold_all().await;
                self.server.freeze();
                return held;
            }
            Fault::Busy => {
                let request = async |mut connection| {
                    let mut request = cmd("BLPOP");
                    request.arg("no list").arg(0.01);
                    P::execute(&mut connection, &request).await;
                };
                self.load = self.pool.keep_busy(SOON, request).await;
            }
            Fault::Silent => self.proxy.set(Mode::Stall).await,
            Fault::Reset => self.proxy.set(Mode::Reset).await,
            Fault::Refused => self.proxy.set(Mode::Refuse).await,
            Fault::Saturated => return self.pool.hold_all().await,
            Fault::Paused => self.send(&["CLIENT", "PAUSE", "6000", "ALL"]).await,
            Fault::PasswordSet => {
                self.send(&["CONFIG", "SET", "requirepass", "word"]).await;
                // Sessions that are logged in stay so; the app's have to log in again.
                self.proxy.set(Mode::Reset).await;
                self.proxy.set(Mode::Pass).await;
            }
            Fault::PingForbidden => self.send(&["ACL", "SETUSER", "default", "-ping"]).await,
            Fault::SavingFailed => self.fail_to_save().await,
            Fault::PrimaryLost | Fault::ReadOnly => {
                let port = unused_port().to_string();
                self.send(&["REPLICAOF", "127.0.0.1", &port]).await;
            }
            Fault::OutOfMemory => self.send(&["CONFIG", "SET", "maxmemory", "1"]).await,
            Fault::ScriptRuns => self.run_script().await,
        }
        Vec::new()
    }

    async fn recover(&mut self, fault: Fault) {
        match fault {
            Fault::Killed => self.server.restart().await,
            Fault::Frozen | Fault::FrozenInUse => self.server.thaw(),
            Fault::Busy => self.load.shutdown().await,
            Fault::Silent | Fault::Reset | Fault::Refused => self.proxy.set(Mode::Pass).await,
            Fault::PasswordSet => {
                let url = format!("redis://:word@127.0.0.1:{}/", self.server.port());
                let client = redis::Client::open(url).unwrap();
                let mut connection = client.get_multiplexed_async_connection().await.unwrap();
                let mut clear = cmd("CONFIG");
                clear.arg("SET").arg("requirepass").arg("");
                clear.exec_async(&mut connection).await.unwrap();
            }
            Fault::PingForbidden => self.send(&["ACL", "SETUSER", "default", "+ping"]).await,
            Fault::SavingFailed => self.send(&["CONFIG", "SET", "save", ""]).await,
            Fault::PrimaryLost | Fault::ReadOnly => self.send(&["REPLICAOF", "NO", "ONE"]).await,
            Fault::OutOfMemory => self.send(&["CONFIG", "SET", "maxmemory", "0"]).await,
            Fault::ScriptRuns => self.send(&["SCRIPT", "KILL"]).await,
            // The pause ends by itself, and delays every command until then.
            Fault::Restarted | Fault::Saturated | Fault::Paused => {}
        }
        let mut connection = self.server.connection().await;
        wait_until("the server answers", SOON, async || {
            cmd("PING").exec_async(&mut connection).await.is_ok()
        })
        .await;
    }

    async fn works(connection: &mut P::Checkout) -> bool {
        P::execute(connection, cmd("GET").arg("a key")).await
    }
}

type Bb8 = bb8::Pool<bb8_redis::RedisConnectionManager>;

#[tokio::test]
async fn bb8_is_the_reference() {
    all_rows::<RedisRig<Bb8>>().await;
}

#[tokio::test]
async fn deadpool_redis_reports_each_fault() {
    all_rows::<RedisRig<Deadpool>>().await;
}

#[tokio::test]
async fn a_connection_manager_reports_each_fault() {
    all_rows::<RedisRig<SharedConnection>>().await;
}

//! Each fault of a Redis as a row.

use std::{cell::Cell, fs, rc::Rc};

use redis::cmd;
use tokio::{
    sync::Semaphore,
    task::{JoinSet, LocalSet, spawn_local},
    time::timeout,
};
use tower_health::{Check, Reason, Status};
use tower_health_pools::{
    connection_manager::SharedConnection, deadpool_redis_pool::DeadpoolRedis,
};

use crate::{
    answer::{Answer, UP, degraded, down},
    redis_pools::RedisPool,
    row::{AT_ONCE, Miss, Row, SIZE, SOON, compare, faults, run, runs, wanted},
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

/// What `checks::redis` reports on a `bb8` pool that tests at checkout.
fn expected<P: RedisPool>(fault: Fault) -> Answer {
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

struct Rig<P: RedisPool> {
    server: Redis,
    proxy: Proxy,
    pool: P,
    /// The app's requests: always more than the pool has connections.
    load: JoinSet<()>,
}

impl<P: RedisPool> Rig<P> {
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
            for mut checkout in rig.hold_all().await {
                assert!(P::execute(&mut checkout, &cmd("PING")).await);
            }
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

    async fn send(&self, words: &[&str]) {
        let mut connection = self.server.connection().await;
        let mut command = cmd(words[0]);
        command.arg(&words[1..]);
        command.exec_async(&mut connection).await.unwrap();
    }

    /// Inflicts `fault`. The checkouts that are returned keep it up.
    async fn inflict(&mut self, fault: Fault) -> Vec<P::Checkout> {
        match fault {
            Fault::Killed => self.server.kill(),
            Fault::Restarted => self.server.restart().await,
            Fault::Frozen => self.server.freeze(),
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
                        let mut request = cmd("BLPOP");
                        request.arg("no list").arg(0.01);
                        loop {
                            if let Some(mut connection) = pool.get().await {
                                P::execute(&mut connection, &request).await;
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
            Fault::Saturated => return self.hold_all().await,
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
}

async fn row<P: RedisPool>(turns: Rc<Semaphore>, fault: Fault, warm: bool, now: Answer) -> Row {
    let _turn = turns.acquire().await.expect("never closed");
    let mut rig = Rig::<P>::new(fault, warm).await;
    let check = rig.pool.check();
    if warm {
        assert_eq!(run(&check, UP).await, UP, "{fault:?}: healthy");
    }
    let held = rig.inflict(fault).await;
    let found = runs(&check, now).await;
    drop(held);
    rig.recover(fault).await;
    let recovered = run(&check, UP).await;
    println!("{fault:?}, warm: {warm}: {found:?}, then {recovered:?}");
    works_for_the_app(&rig, &check).await;
    Row {
        fault: format!("{fault:?}"),
        warm,
        expected: expected::<P>(fault),
        found,
        recovered,
    }
}

/// All connections can be used at once while the check runs.
async fn works_for_the_app<P: RedisPool>(rig: &Rig<P>, check: &impl Check) {
    wait_until("the app is served", SOON, async || {
        run(check, UP).await;
        let mut served = 0;
        for mut connection in rig.hold_all().await {
            let mut request = cmd("GET");
            request.arg("a key");
            served += u32::from(P::execute(&mut connection, &request).await);
        }
        served == SIZE
    })
    .await;
}

async fn all_rows<P: RedisPool>(misses: &'static [Miss<Fault>]) {
    let turns = Rc::new(Semaphore::new(AT_ONCE));
    let mut set = JoinSet::new();
    let run = async {
        for &fault in FAULTS {
            let in_use = matches!(fault, Fault::Saturated | Fault::FrozenInUse | Fault::Busy);
            if in_use && !P::CAN_SATURATE {
                continue;
            }
            for warm in [false, true] {
                let now = wanted(misses, (fault, warm), expected::<P>(fault));
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

/// The pool counts no checkouts, so the check cannot see that the app is served.
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

#[tokio::test]
async fn bb8_is_the_reference() {
    all_rows::<bb8::Pool<bb8_redis::RedisConnectionManager>>(&[]).await;
}

#[tokio::test]
async fn deadpool_redis_reports_each_fault() {
    all_rows::<DeadpoolRedis>(UNCOUNTED).await;
}

#[tokio::test]
async fn a_connection_manager_reports_each_fault() {
    all_rows::<SharedConnection>(&[]).await;
}

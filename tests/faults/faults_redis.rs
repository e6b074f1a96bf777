//! Each fault of a Redis as a row: what is reported, how many connections that
//! costs, and what the first check after the mend says.

use std::{fs, time::Duration};

use crate::answer::{Answer, UP, look as look_at};
use crate::support::{Mode, Proxy, Redis, judged_on_time, unused_port, wait_until};
use bb8_redis::{RedisConnectionManager, redis::cmd};
use tokio::{
    sync::Semaphore,
    task::{JoinSet, LocalSet},
    time::{Instant, timeout},
};
use tower_health::{Check, Reason, Status, checks};

type Pool = bb8::Pool<RedisConnectionManager>;
type Loan = bb8::PooledConnection<'static, RedisConnectionManager>;

const SIZE: u32 = 3;
/// Rows side by side. A check gives up on the pool after 233 ms, which a machine under
/// too much load takes for a round trip.
const AT_ONCE: usize = 8;
const SOON: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
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
    MasterLost,
    ReadOnly,
    OutOfMemory,
    ScriptRuns,
}

/// How the app built its pool, and whether it had been used.
#[derive(Clone, Copy, Debug)]
struct Shape {
    tested: bool,
    retry: bool,
    warm: bool,
}

struct Rig {
    server: Redis,
    proxy: Proxy,
    pool: Pool,
}

impl Rig {
    async fn new(fault: Fault, shape: Shape) -> Self {
        let server = match fault {
            Fault::PingForbidden => {
                Redis::builder().config_line("user default on nopass ~* &* +@all")
            }
            Fault::MasterLost => Redis::builder().arg("--replica-serve-stale-data", "no"),
            Fault::SavingFailed => Redis::builder().arg("--enable-protected-configs", "yes"),
            _ => Redis::builder(),
        };
        let server = server.start().await;
        let proxy = Proxy::start(server.port()).await;
        // A proxy accepts before it knows that nobody listens behind it.
        let port = match fault {
            Fault::Killed => server.port(),
            _ => proxy.port(),
        };
        let manager = RedisConnectionManager::new(server.url_through(port)).unwrap();
        let pool = Pool::builder()
            .max_size(SIZE)
            .test_on_check_out(shape.tested)
            .retry_connection(shape.retry)
            .build_unchecked(manager);
        if shape.warm {
            drop(hold_all(&pool).await);
        }
        Self {
            server,
            proxy,
            pool,
        }
    }

    async fn say(&self, words: &[&str]) {
        let mut connection = self.server.connection().await;
        let mut command = cmd(words[0]);
        command.arg(&words[1..]);
        command.exec_async(&mut connection).await.unwrap();
    }

    /// Inflicts `fault`. What is returned keeps it up.
    async fn inflict(&mut self, fault: Fault) -> Vec<Loan> {
        match fault {
            Fault::Killed => self.server.kill(),
            Fault::Restarted => self.server.restart().await,
            Fault::Frozen => self.server.freeze(),
            Fault::Silent | Fault::SilentForGood => self.proxy.set(Mode::Stall).await,
            Fault::Reset => self.proxy.set(Mode::Reset).await,
            Fault::Refused => self.proxy.set(Mode::Refuse).await,
            Fault::Saturated => return hold_all(&self.pool).await,
            Fault::Paused => self.say(&["CLIENT", "PAUSE", "4000", "ALL"]).await,
            Fault::PasswordSet => {
                self.say(&["CONFIG", "SET", "requirepass", "word"]).await;
                // Those that are in stay in; the app's have to come in again.
                self.proxy.set(Mode::Reset).await;
                self.proxy.set(Mode::Pass).await;
            }
            Fault::PingForbidden => self.say(&["ACL", "SETUSER", "default", "-ping"]).await,
            Fault::SavingFailed => {
                let gone = self.server.directory().join("gone");
                fs::create_dir_all(&gone).unwrap();
                self.say(&["CONFIG", "SET", "dir", gone.to_str().unwrap()])
                    .await;
                self.say(&["CONFIG", "SET", "save", "3600 1"]).await;
                self.say(&["SET", "a", "b"]).await;
                fs::remove_dir_all(&gone).unwrap();
                // Redis has entered the directory, so its file has nowhere to be made.
                let mut connection = self.server.connection().await;
                let _: Result<(), _> = cmd("BGSAVE").exec_async(&mut connection).await;
                wait_until("the save fails", SOON, async || {
                    let info: String = cmd("INFO")
                        .arg("persistence")
                        .query_async(&mut connection)
                        .await
                        .unwrap();
                    info.contains("rdb_last_bgsave_status:err")
                })
                .await;
            }
            Fault::MasterLost | Fault::ReadOnly => {
                let port = unused_port().to_string();
                self.say(&["REPLICAOF", "127.0.0.1", &port]).await;
            }
            Fault::OutOfMemory => self.say(&["CONFIG", "SET", "maxmemory", "1"]).await,
            Fault::ScriptRuns => {
                self.say(&["CONFIG", "SET", "busy-reply-threshold", "1"])
                    .await;
                let mut connection = self.server.connection().await;
                tokio::task::spawn_local(async move {
                    let _: Result<(), _> = cmd("EVAL")
                        .arg("while true do end")
                        .arg(0)
                        .exec_async(&mut connection)
                        .await;
                });
                let mut other = self.server.connection().await;
                wait_until("the script runs", SOON, async || {
                    cmd("PING")
                        .exec_async(&mut other)
                        .await
                        .is_err_and(|error| error.code() == Some("BUSY"))
                })
                .await;
            }
        }
        Vec::new()
    }

    async fn mend(&mut self, fault: Fault) {
        match fault {
            Fault::Killed => self.server.restart().await,
            Fault::Frozen => self.server.thaw(),
            Fault::Silent | Fault::Reset | Fault::Refused => self.proxy.set(Mode::Pass).await,
            Fault::SilentForGood => self.proxy.set(Mode::StallExisting).await,
            Fault::PasswordSet => {
                let client = bb8_redis::redis::Client::open(format!(
                    "redis://:word@127.0.0.1:{}/",
                    self.server.port()
                ))
                .unwrap();
                let mut connection = client.get_multiplexed_async_connection().await.unwrap();
                cmd("CONFIG")
                    .arg("SET")
                    .arg("requirepass")
                    .arg("")
                    .exec_async(&mut connection)
                    .await
                    .unwrap();
            }
            Fault::PingForbidden => self.say(&["ACL", "SETUSER", "default", "+ping"]).await,
            Fault::SavingFailed => self.say(&["CONFIG", "SET", "save", ""]).await,
            Fault::MasterLost | Fault::ReadOnly => self.say(&["REPLICAOF", "NO", "ONE"]).await,
            Fault::OutOfMemory => self.say(&["CONFIG", "SET", "maxmemory", "0"]).await,
            Fault::ScriptRuns => self.say(&["SCRIPT", "KILL"]).await,
            // It ends by itself, and until then takes no command that would end it.
            Fault::Restarted | Fault::Saturated | Fault::Paused => {}
        }
        let mut connection = self.server.connection().await;
        connection.set_response_timeout(SOON);
        wait_until("the server answers", SOON, async || {
            cmd("PING").exec_async(&mut connection).await.is_ok()
        })
        .await;
    }
}

/// What every check must say while the fault lasts.
fn expected(fault: Fault, shape: Shape) -> Answer {
    use Fault::*;
    let down = |reason| (Status::Down, Some(reason));
    match fault {
        Killed | Refused => down(Reason::Refused),
        Frozen | Silent | SilentForGood | Paused => down(Reason::Timeout),
        Reset => down(Reason::Reset),
        Saturated => (Status::Degraded, Some(Reason::Saturated)),
        PasswordSet => down(Reason::Auth),
        // The pool's own test never passes, so the app gets no connection.
        PingForbidden if shape.tested => down(Reason::Rejected),
        PingForbidden => (Status::Degraded, Some(Reason::Rejected)),
        SavingFailed => down(Reason::Misconfigured),
        MasterLost => down(Reason::NoPrimary),
        ScriptRuns => down(Reason::Busy),
        Restarted if keeps_broken(shape) => down(Reason::PoolStuck),
        Restarted | ReadOnly | OutOfMemory => UP,
    }
}

/// A pool that neither tests its connections nor learns that they are broken.
fn keeps_broken(shape: Shape) -> bool {
    !shape.tested && shape.warm
}

async fn row(fault: Fault, shape: Shape) {
    static TURNS: Semaphore = Semaphore::const_new(AT_ONCE);
    let _turn = TURNS.acquire().await.unwrap();
    let context = format!("{fault:?} {shape:?}");
    let mut rig = Rig::new(fault, shape).await;
    let check = checks::redis(rig.pool.clone());
    if shape.warm {
        // A run opens a connection where the machine has kept it waiting. The next one does not.
        wait_until("a healthy run opens no connection", SOON, async || {
            let before = rig.proxy.connections();
            let found = look(&check, |found| found == UP).await.0;
            assert_eq!(found, UP, "{context}: healthy");
            rig.proxy.connections() == before
        })
        .await;
    }
    let held = rig.inflict(fault).await;
    let mut times = Vec::new();
    let mut made = Vec::new();
    for run in 0..3 {
        let mut before = rig.proxy.connections();
        let judge = async || {
            before = rig.proxy.connections();
            look_once(&check).await
        };
        let is_right = |found: &(Answer, Duration)| found.0 == expected(fault, shape);
        let (verdict, took) = judged_on_time(judge, is_right).await;
        // What a check has started may end a little later.
        tokio::time::sleep(Duration::from_millis(20)).await;
        made.push(rig.proxy.connections() - before);
        times.push(took.as_millis());
        assert_eq!(
            verdict,
            expected(fault, shape),
            "{context}: run {run}, {took:?}"
        );
    }
    assert!(
        made.iter().all(|&made| made <= 4),
        "{context}: {made:?} connections"
    );
    drop(held);
    rig.mend(fault).await;
    let allowed = match (fault, shape.warm) {
        // Silent connections stay in the pool.
        (Fault::SilentForGood, true) => vec![
            UP,
            (Status::Degraded, Some(Reason::PoolStuck)),
            (Status::Down, Some(Reason::PoolStuck)),
        ],
        // The connections are broken, and the pool keeps them.
        (
            Fault::Killed | Fault::Refused | Fault::Reset | Fault::PasswordSet | Fault::Restarted,
            _,
        ) if keeps_broken(shape) => vec![(Status::Down, Some(Reason::PoolStuck))],
        _ => vec![UP],
    };
    if fault == Fault::SilentForGood {
        // A connect that began before is awaited first, for the driver's 1 s.
        wait_until(&context, SOON, async || {
            allowed.contains(&look_once(&check).await.0)
        })
        .await;
    }
    let (verdict, took) = look(&check, |found| allowed.contains(&found)).await;
    println!(
        "{context}: {:?} {times:?} ms, {made:?} connections; then {verdict:?} {} ms",
        expected(fault, shape),
        took.as_millis()
    );
    assert!(
        allowed.contains(&verdict),
        "{context}: recovered, {verdict:?}"
    );
    if fault == Fault::SilentForGood && keeps_broken(shape) {
        return;
    }
    let repairs = checks::redis(rig.pool.clone()).repair_pool();
    works_for_the_app(&rig.pool, &repairs, &context).await;
}

/// Every slot can be had at once, and each connection answers, after so many checks.
async fn works_for_the_app(pool: &Pool, check: &impl Check, context: &str) {
    let mut checks = 0;
    wait_until(context, SOON, async || {
        checks += 1;
        look_once(check).await;
        let mut good = 0;
        for mut connection in hold_all(pool).await {
            let id: Result<u64, _> = cmd("CLIENT").arg("ID").query_async(&mut *connection).await;
            good += u32::from(id.is_ok());
        }
        good == SIZE
    })
    .await;
    assert!(
        checks <= 2 * SIZE,
        "{context}: {checks} checks until the app works"
    );
}

async fn hold_all(pool: &Pool) -> Vec<Loan> {
    let mut held = Vec::new();
    for _ in 0..SIZE {
        held.push(timeout(SOON, pool.get_owned()).await.unwrap().unwrap());
    }
    held
}

/// A verdict that `is_right`, or else one found while the machine was on time.
async fn look(check: &impl Check, is_right: impl Fn(Answer) -> bool) -> (Answer, Duration) {
    judged_on_time(async || look_once(check).await, |found| is_right(found.0)).await
}

async fn look_once(check: &impl Check) -> (Answer, Duration) {
    let started = Instant::now();
    (look_at(check).await, started.elapsed())
}

async fn in_every_shape(fault: Fault) {
    let mut rows = JoinSet::new();
    for bits in 0..8 {
        let shape = Shape {
            tested: bits & 1 != 0,
            retry: bits & 2 != 0,
            warm: bits & 4 != 0,
        };
        rows.spawn_local(row(fault, shape));
    }
    let mut failed = Vec::new();
    while let Some(row) = rows.join_next().await {
        failed.extend(row.err());
    }
    assert!(failed.is_empty(), "{} shapes failed", failed.len());
}

macro_rules! faults {
    ($($name:ident: $fault:ident,)+) => {$(
        #[tokio::test]
        async fn $name() {
            LocalSet::new().run_until(in_every_shape(Fault::$fault)).await;
        }
    )+};
}

faults! {
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
    master_lost: MasterLost,
    read_only: ReadOnly,
    out_of_memory: OutOfMemory,
    script_runs: ScriptRuns,
}

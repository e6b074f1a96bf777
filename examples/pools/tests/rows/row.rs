//! One row: its fault and its runs, what they should report, and the table of all rows of a pool.

use std::{cell::Cell, fmt::Debug, rc::Rc, time::Duration};

use tokio::{
    sync::Semaphore,
    task::{JoinSet, LocalSet},
    time::{Instant, timeout, timeout_at},
};
use tower_health::{Check, Reason};

use crate::{
    answer::{Answer, UP, answer, down},
    support::{judged_on_time, wait_until},
};

/// Connections of each pool.
pub const SIZE: u32 = 3;
/// How long a condition is awaited on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);
/// Rows at a time: more would make the machine late.
const AT_ONCE: usize = 4;
/// The timeout of a dependency by default.
const RUN: Duration = Duration::from_millis(800);
const RUNS: usize = 3;

/// The faults of a server, and all of them in order.
macro_rules! faults {
    ($($fault:ident),* $(,)?) => {
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub enum Fault {
            $($fault),*
        }

        const FAULTS: &[Fault] = &[$(Fault::$fault),*];
    };
}
pub(crate) use faults;

/// A pool of [`SIZE`] connections, used as an app does.
pub trait AppPool: Clone + 'static {
    const NAME: &'static str;
    type Checkout: 'static;

    fn check(&self) -> impl Check;

    /// `None` is an error.
    async fn get(&self) -> Option<Self::Checkout>;

    async fn hold_all(&self) -> Vec<Self::Checkout> {
        let mut held = Vec::new();
        for count in 1..=SIZE as usize {
            // An app tries again: a server that has just recovered may refuse a login once more.
            wait_until("a connection", SOON, async || {
                held.extend(timeout(SOON, self.get()).await.ok().flatten());
                held.len() == count
            })
            .await;
        }
        held
    }

    /// Sends requests: always more than the pool has connections. Each is given up after `time_limit`.
    async fn keep_busy(
        &self,
        time_limit: Duration,
        request: impl AsyncFn(Self::Checkout) + Clone + 'static,
    ) -> JoinSet<()> {
        let mut load = JoinSet::new();
        let served = Rc::new(Cell::new(0));
        for _ in 0..4 * SIZE {
            let (pool, served, request) = (self.clone(), served.clone(), request.clone());
            load.spawn_local(async move {
                loop {
                    let answer = async {
                        request(pool.get().await?).await;
                        Some(())
                    };
                    if let Ok(Some(())) = timeout(time_limit, answer).await {
                        served.set(served.get() + 1);
                    }
                }
            });
        }
        // The first requests wait for logins.
        wait_until("the app is served", SOON, async || served.get() > 20 * SIZE).await;
        load
    }
}

/// A server with a pool in front of it, for one fault.
pub trait Rig: Sized + 'static {
    type Pool: AppPool;
    type Fault: Copy + Debug + 'static;
    /// The faults that the pool can have.
    fn faults() -> Vec<Self::Fault>;

    fn expected(fault: Self::Fault, warm: bool) -> Answer;

    /// `warm`: the app has used all connections of the pool.
    async fn new(fault: Self::Fault, warm: bool) -> Self;

    fn pool(&self) -> &Self::Pool;

    /// Inflicts `fault`. The checkouts that are returned keep it up.
    async fn inflict(
        &mut self,
        fault: Self::Fault,
        warm: bool,
    ) -> Vec<<Self::Pool as AppPool>::Checkout>;

    async fn recover(&mut self, fault: Self::Fault);

    /// The first run after the recovery.
    async fn recovered(_fault: Self::Fault, check: &impl Check) -> Answer {
        run(check, UP).await
    }

    /// Whether the app can work with the connection.
    async fn works(connection: &mut <Self::Pool as AppPool>::Checkout) -> bool;
}

/// What one pool reports in one fault.
#[derive(Debug)]
struct Row {
    index: usize,
    fault: String,
    warm: bool,
    expected: Answer,
    found: Vec<Answer>,
    recovered: Answer,
}

impl Row {
    async fn new<R: Rig>(turns: Rc<Semaphore>, index: usize, fault: R::Fault, warm: bool) -> Self {
        let _turn = turns.acquire().await.expect("never closed");
        let expected = R::expected(fault, warm);
        let mut rig = R::new(fault, warm).await;
        let check = rig.pool().check();
        if warm {
            assert_eq!(run(&check, UP).await, UP, "{fault:?}: healthy");
        }
        let held = rig.inflict(fault, warm).await;
        let mut found = Vec::new();
        for _ in 0..RUNS {
            found.push(run(&check, expected).await);
        }
        drop(held);
        rig.recover(fault).await;
        let recovered = R::recovered(fault, &check).await;
        println!("{fault:?}, warm: {warm}: {found:?}, then {recovered:?}");
        // All connections can be used at once while the check runs.
        wait_until("the app is served", SOON, async || {
            run(&check, UP).await;
            let mut works = 0;
            for mut connection in rig.pool().hold_all().await {
                works += u32::from(R::works(&mut connection).await);
            }
            works == SIZE
        })
        .await;
        Self {
            index,
            fault: format!("{fault:?}"),
            warm,
            expected,
            found,
            recovered,
        }
    }

    /// Whether the status is right in each run, and the reason is.
    fn matches(&self) -> (bool, bool) {
        let status = self.found.iter().all(|found| found.0 == self.expected.0);
        let reason = self.found.iter().all(|found| *found == self.expected);
        (status, reason)
    }
}

/// One run as a dependency makes it. Runs again if the machine was late.
pub async fn run(check: &impl Check, wanted: Answer) -> Answer {
    let once = async || {
        let deadline = Instant::now() + RUN;
        match timeout_at(deadline, check.check_until(deadline)).await {
            Ok(result) => answer(&result),
            Err(_) => down(Reason::Timeout),
        }
    };
    judged_on_time(once, |found| *found == wanted).await
}

/// Runs all rows of a pool, and prints them as the guide has them.
///
/// # Panics
///
/// If a row has another result than expected.
pub async fn all_rows<R: Rig>() {
    let turns = Rc::new(Semaphore::new(AT_ONCE));
    let mut set = JoinSet::new();
    let rows = async {
        for (index, fault) in R::faults().into_iter().enumerate() {
            for warm in [false, true] {
                set.spawn_local(Row::new::<R>(turns.clone(), index, fault, warm));
            }
        }
        set.join_all().await
    };
    let mut rows = LocalSet::new().run_until(rows).await;
    rows.sort_by_key(|row| (row.index, row.warm));
    compare(R::Pool::NAME, &rows);
}

fn compare(pool: &str, rows: &[Row]) {
    let count =
        |select: fn((bool, bool)) -> bool| rows.iter().filter(|row| select(row.matches())).count();
    println!(
        "{pool}: same status on {} of {} rows, same reason on {}",
        count(|(status, _)| status),
        rows.len(),
        count(|(_, reason)| reason)
    );
    let mut wrong = 0;
    for row in rows {
        let state = if row.warm { "warm" } else { "cold" };
        let is_right = row.matches() == (true, true) && row.recovered == UP;
        wrong += usize::from(!is_right);
        let mark = if is_right { "" } else { "WRONG" };
        println!(
            "| {pool} | {} | {state} | {:?} | {:?} | {:?} | {mark} |",
            row.fault, row.expected, row.found, row.recovered
        );
    }
    assert_eq!(wrong, 0, "{pool}: rows with another result");
}

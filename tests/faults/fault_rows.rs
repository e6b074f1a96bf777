//! What both tables of faults share: each fault is a row for each shape of a pool, on one server.
//!
//! A row states what is reported during the fault, how many connections that costs, and what the first
//! run after the recovery reports.

use std::{any::Any, fmt::Debug, future::poll_fn, pin::Pin, task::Poll};

use bb8::{ManageConnection, Pool, PooledConnection};
use tokio::sync::Semaphore;
use tower_health::Check;

use crate::{
    app::{
        Answer, SOON, Served, UP, assert_one_round_trip, assert_run_in, hold, is_served, run, warm,
    },
    support::{Mode, Proxy, judged_on_time, wait_until},
};

/// Connections in each pool.
pub const SIZE: u32 = 3;

/// Faults at the same time, of all tests: a busy machine must answer within the time of a run.
static FAULTS: Semaphore = Semaphore::const_new(2);

/// How the app built its pool, and whether the pool was used before the fault.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub tested: bool,
    pub retry: bool,
    pub warm: bool,
}

/// A pool with a separate route, and its check.
pub struct Row<F: Fault> {
    pub shape: Shape,
    pub proxy: Proxy,
    pub pool: Pool<F::Manager>,
    check: F::Check,
    fault: F,
}

pub trait Fault: Copy + Debug {
    type Server;
    type Manager: ManageConnection<Connection: Served>;
    type Check: Check;

    async fn server(self) -> Self::Server;
    fn port(server: &Self::Server) -> u16;
    fn manager(self, server: &Self::Server, port: u16) -> Self::Manager;
    fn check(pool: &Pool<Self::Manager>) -> Self::Check;

    /// Whether the app connects without the proxy, which accepts even if the server is down.
    fn is_direct(self) -> bool;
    /// Causes the fault, which lasts at least as long as the returned value.
    async fn cause(self, server: &mut Self::Server, rows: &[Row<Self>]) -> Box<dyn Any>;
    async fn end(self, server: &mut Self::Server, rows: &[Row<Self>]);

    /// What every run reports during the fault.
    fn expected(self, shape: Shape) -> Answer;
    /// What the first run after the recovery may report.
    fn recovered(self, _: Shape) -> Vec<Answer> {
        vec![UP]
    }
    /// Whether a connection of before delays the recovery.
    fn is_slow_to_recover(self) -> bool;
    /// Makes a pool work that its app cannot repair; `false` if nothing can.
    async fn repair(self, _: &Pool<Self::Manager>, _: Shape) -> bool {
        true
    }
}

pub async fn in_every_shape<F: Fault>(fault: F) {
    let mut server = fault.server().await;
    let mut rows = Vec::new();
    for bits in 0..8 {
        let shape = Shape {
            tested: bits & 1 != 0,
            retry: bits & 2 != 0,
            warm: bits & 4 != 0,
        };
        rows.push(Row::new(fault, &server, shape).await);
    }
    let _turn = FAULTS.acquire().await.expect("never closed");
    at_once(rows.iter().map(Row::before)).await;
    let held = fault.cause(&mut server, &rows).await;
    at_once(rows.iter().map(Row::during)).await;
    drop(held);
    fault.end(&mut server, &rows).await;
    let manager = fault.manager(&server, F::port(&server));
    wait_until("the server answers", SOON, async || {
        connect(&manager).await.is_some()
    })
    .await;
    at_once(rows.iter().map(Row::afterwards)).await;
}

/// A connection that the server serves.
async fn connect<M: ManageConnection<Connection: Served>>(manager: &M) -> Option<M::Connection> {
    let mut connection = manager.connect().await.ok()?;
    connection.serve().await.then_some(connection)
}

/// As many connections as the server still accepts.
pub async fn take_all_slots<M>(manager: M) -> Vec<M::Connection>
where
    M: ManageConnection<Connection: Served>,
{
    let mut taken = Vec::new();
    while let Some(connection) = connect(&manager).await {
        taken.push(connection);
    }
    taken
}

/// Sets the mode of all routes.
pub async fn set<F: Fault>(rows: &[Row<F>], mode: Mode) {
    for row in rows {
        row.proxy.set(mode).await;
    }
}

/// `count` checkouts of each pool.
pub async fn hold_all<'a, F: Fault + 'a>(
    rows: impl IntoIterator<Item = &'a Row<F>>,
    count: u32,
) -> Vec<PooledConnection<'static, F::Manager>> {
    let mut held = Vec::new();
    for row in rows {
        held.extend(hold(&row.pool, count).await);
    }
    held
}

/// Waits until all of them have ended.
pub async fn at_once(futures: impl IntoIterator<Item: Future<Output = ()>>) {
    let mut pending: Vec<Pin<Box<_>>> = futures.into_iter().map(Box::pin).collect();
    poll_fn(|context| {
        pending.retain_mut(|future| future.as_mut().poll(context).is_pending());
        match pending.is_empty() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
}

impl<F: Fault> Row<F> {
    async fn new(fault: F, server: &F::Server, shape: Shape) -> Self {
        let proxy = Proxy::start(F::port(server)).await;
        let port = match fault.is_direct() {
            true => F::port(server),
            false => proxy.port(),
        };
        let pool = Pool::builder()
            .max_size(SIZE)
            .test_on_check_out(shape.tested)
            .retry_connection(shape.retry)
            .build_unchecked(fault.manager(server, port));
        Self {
            shape,
            proxy,
            check: F::check(&pool),
            pool,
            fault,
        }
    }

    fn context(&self) -> String {
        format!("{:?} {:?}", self.fault, self.shape)
    }

    async fn before(&self) {
        if self.shape.warm {
            warm(&self.pool, SIZE).await;
            if !self.fault.is_direct() {
                assert_one_round_trip(&self.check, &self.proxy, 1, &self.context()).await;
            }
        }
    }

    async fn during(&self) {
        let expected = self.fault.expected(self.shape);
        for number in 0..3 {
            let one = async || {
                let before = self.proxy.connections();
                let found = run(&self.check).await;
                (found, self.proxy.connections() - before)
            };
            // Those of the pool, and one next to it.
            let is_right =
                |(found, made): &(Answer, u64)| *found == expected && *made <= u64::from(SIZE) + 1;
            let found = judged_on_time(one, is_right).await;
            let context = self.context();
            assert!(
                is_right(&found),
                "{context}: run {number} made {found:?}, not {expected:?}"
            );
        }
    }

    async fn afterwards(&self) {
        let context = format!("{} after the recovery", self.context());
        let allowed = self.fault.recovered(self.shape);
        if self.fault.is_slow_to_recover() {
            wait_until(&context, SOON, async || {
                allowed.contains(&run(&self.check).await)
            })
            .await;
        }
        assert_run_in(&self.check, &allowed, &context).await;
        wait_until(&context, SOON, async || {
            if !self.fault.repair(&self.pool, self.shape).await {
                return true;
            }
            each_connection_serves(&self.pool, SIZE).await && is_served(&self.pool).await
        })
        .await;
    }
}

/// Whether all connections of a pool serve the app.
pub async fn each_connection_serves<M>(pool: &Pool<M>, size: u32) -> bool
where
    M: ManageConnection<Connection: Served>,
{
    let mut served = 0;
    for mut connection in hold(pool, size).await {
        served += u32::from(connection.serve().await);
    }
    served == size
}

/// Declares the faults of a server, each with its test.
macro_rules! faults {
    ($faults:ident: $($name:ident = $fault:ident,)+) => {
        #[derive(Clone, Copy, Debug, PartialEq)]
        enum $faults {
            $($fault,)+
        }

        use $faults::*;

        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                crate::fault_rows::in_every_shape($fault).await;
            }
        )+
    };
}

pub(crate) use faults;

//! What both tables of faults share: each fault is a row for each shape of a pool, on one server.
//!
//! A row states what is reported during the fault, how many connections that costs, and what the first
//! run after the recovery reports.

use std::{any::Any, fmt::Debug, future::poll_fn, pin::Pin, task::Poll};

use bb8::{ManageConnection, Pool};
use tokio::sync::Semaphore;
use tower_health::Check;

use crate::{
    app::{Answer, SOON, Served, UP, assert_run, hold, is_served, run, warm},
    support::{Mode, Proxy, judged_on_time, wait_until},
};

/// Connections in each pool.
pub const SIZE: u32 = 3;

/// Faults at the same time, of all tests: a busy machine must answer within the time of a run.
const AT_ONCE: usize = 2;

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

    /// The modes of the routes during the fault and afterwards, for a fault of the route.
    fn routes(self) -> Option<(Mode, Mode)>;
    /// Whether the app connects without the proxy, which accepts even if the server is down.
    fn is_direct(self) -> bool;
    /// Causes a fault that is not one of the route, and that lasts at least as long as the returned value.
    async fn cause(self, server: &mut Self::Server, rows: &[Row<Self>]) -> Box<dyn Any>;
    /// Ends the fault, and waits until the server answers.
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
    static FAULTS: Semaphore = Semaphore::const_new(AT_ONCE);
    let _turn = FAULTS.acquire().await.expect("never closed");
    at_once(rows.iter().map(Row::before)).await;
    let held = match fault.routes() {
        Some((mode, _)) => {
            set(&rows, mode).await;
            None
        }
        None => Some(fault.cause(&mut server, &rows).await),
    };
    at_once(rows.iter().map(Row::during)).await;
    drop(held);
    if let Some((_, mode)) = fault.routes() {
        // Directly: a login that passes in between would be silenced after it.
        set(&rows, mode).await;
    }
    fault.end(&mut server, &rows).await;
    at_once(rows.iter().map(Row::afterwards)).await;
}

/// Sets the mode of all routes.
pub async fn set<F: Fault>(rows: &[Row<F>], mode: Mode) {
    for row in rows {
        row.proxy.set(mode).await;
    }
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
        let check = F::check(&pool);
        Self {
            shape,
            proxy,
            pool,
            check,
            fault,
        }
    }

    fn context(&self) -> String {
        format!("{:?} {:?}", self.fault, self.shape)
    }

    async fn before(&self) {
        if !self.shape.warm {
            return;
        }
        warm(&self.pool, SIZE).await;
        // On a late machine a run may open a connection; the next run closes it.
        wait_until("a healthy run opens no connection", SOON, async || {
            let before = self.proxy.connections();
            assert_run(&self.check, UP, &self.context()).await;
            let open = self.proxy.open_connections();
            self.proxy.connections() == before && open <= u64::from(SIZE)
        })
        .await;
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
            assert!(
                is_right(&found),
                "{}: run {number} made {found:?}, not {expected:?}",
                self.context()
            );
        }
    }

    async fn afterwards(&self) {
        let context = self.context();
        let allowed = self.fault.recovered(self.shape);
        if self.fault.is_slow_to_recover() {
            wait_until(&context, SOON, async || {
                allowed.contains(&run(&self.check).await)
            })
            .await;
        }
        let is_allowed = |found: &Answer| allowed.contains(found);
        let found = judged_on_time(async || run(&self.check).await, is_allowed).await;
        assert!(
            is_allowed(&found),
            "{context}: {found:?} after the recovery"
        );
        // Each connection of the pool serves the app.
        wait_until(&context, SOON, async || {
            if !self.fault.repair(&self.pool, self.shape).await {
                return true;
            }
            let mut served = 0;
            for mut connection in hold(&self.pool, SIZE).await {
                served += u32::from(connection.serve().await);
            }
            served == SIZE && is_served(&self.pool).await
        })
        .await;
    }
}

macro_rules! fault_tests {
    ($($name:ident: $fault:expr,)+) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            crate::fault_rows::in_every_shape($fault).await;
        }
    )+};
}

pub(crate) use fault_tests;

//! What both tables of faults share: each fault is a row for each shape of a pool, on its own server.
//!
//! A row states what is reported during the fault, how many connections that costs, and what the first
//! run after the recovery reports.

use std::{fmt::Debug, sync::Arc, thread};

use bb8::{ManageConnection, Pool, PooledConnection};
use tokio::{runtime, sync::Semaphore};
use tower_health::Check;

use crate::{
    app::{Answer, SOON, Served, UP, assert_run, hold, is_served, run, warm},
    support::{Mode, Proxy, judged_on_time, wait_until},
};

/// Connections in each pool.
pub const SIZE: u32 = 3;

/// Rows at the same time, of all tests.
const AT_ONCE: usize = 6;

/// How the app built its pool, and whether the pool was used before the fault.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub tested: bool,
    pub retry: bool,
    pub warm: bool,
}

pub type Checkouts<M> = Vec<PooledConnection<'static, M>>;

pub struct Rig<F: Fault> {
    pub server: Arc<F::Server>,
    pub proxy: Proxy,
    pub pool: Pool<F::Manager>,
}

impl<F: Fault> Rig<F> {
    pub fn own_server(&mut self) -> &mut F::Server {
        Arc::get_mut(&mut self.server).expect("no other row has this server")
    }
}

pub trait Fault: Copy + Debug + Send + 'static {
    type Server: Send + Sync;
    type Manager: ManageConnection<Connection: Served>;

    async fn server(self) -> Self::Server;
    fn port(server: &Self::Server) -> u16;
    fn manager(server: &Self::Server, port: u16) -> Self::Manager;
    fn check(pool: &Pool<Self::Manager>) -> impl Check + use<Self>;

    /// The mode of the route, for a fault of the route.
    fn route(self) -> Option<Mode>;
    /// The mode that ends a fault of the route.
    fn route_afterwards(self) -> Mode {
        Mode::Pass
    }
    /// Whether each row needs its own server.
    fn is_of_the_server(self) -> bool;
    /// Whether the app connects without the proxy, which accepts even if the server is down.
    fn is_direct(self) -> bool;
    /// Causes a fault that is not one of the route, and that lasts at least as long as the returned checkouts.
    async fn cause(self, rig: &mut Rig<Self>) -> Checkouts<Self::Manager>;
    /// Ends the fault, and waits until the server answers.
    async fn end(self, rig: &mut Rig<Self>);

    /// What every run reports during the fault.
    fn expected(self, shape: Shape) -> Answer;
    /// What the first run after the recovery may report.
    fn recovered(self, _: Shape) -> Vec<Answer> {
        vec![UP]
    }
    /// Whether a connect of before delays the recovery.
    fn is_slow_to_recover(self) -> bool {
        false
    }
    /// Makes a pool work that its app cannot repair; `false` if nothing can.
    async fn repair(self, _: &Pool<Self::Manager>, _: Shape) -> bool {
        true
    }
}

pub fn in_every_shape<F: Fault>(fault: F) {
    let shapes = (0..8).map(|bits| Shape {
        tested: bits & 1 != 0,
        retry: bits & 2 != 0,
        warm: bits & 4 != 0,
    });
    let shared =
        (!fault.is_of_the_server()).then(|| block_on(async { Arc::new(fault.server().await) }));
    let rows = shapes.map(|shape| (shape, shared.clone()));
    at_once(rows, move |(shape, server)| row(fault, shape, server));
}

/// Runs each row on its own thread: a row that stops a server blocks its own thread only.
pub fn at_once<T, F>(
    rows: impl IntoIterator<Item = T>,
    run: impl Fn(T) -> F + Copy + Send + 'static,
) where
    T: Send + 'static,
    F: Future<Output = ()>,
{
    let rows: Vec<_> = rows
        .into_iter()
        .map(|row| thread::spawn(move || block_on(run(row))))
        .collect();
    let failed = rows.into_iter().filter_map(|row| row.join().err()).count();
    assert_eq!(failed, 0, "rows failed");
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(future)
}

async fn row<F: Fault>(fault: F, shape: Shape, shared: Option<Arc<F::Server>>) {
    static ROWS: Semaphore = Semaphore::const_new(AT_ONCE);
    let _row = ROWS.acquire().await.unwrap();
    let context = format!("{fault:?} {shape:?}");
    let server = match shared {
        Some(server) => server,
        None => Arc::new(fault.server().await),
    };
    let proxy = Proxy::start(F::port(&server)).await;
    let port = match fault.is_direct() {
        true => F::port(&server),
        false => proxy.port(),
    };
    let pool = Pool::builder()
        .max_size(SIZE)
        .test_on_check_out(shape.tested)
        .retry_connection(shape.retry)
        .build_unchecked(F::manager(&server, port));
    let mut rig = Rig {
        server,
        proxy,
        pool,
    };
    let check = F::check(&rig.pool);
    if shape.warm {
        warm(&rig.pool, SIZE).await;
        // On a late machine a run may open a connection; the next run closes it.
        wait_until("a healthy run opens no connection", SOON, async || {
            let before = rig.proxy.connections();
            assert_run(&check, UP, &context).await;
            let open = rig.proxy.open_connections();
            rig.proxy.connections() == before && open <= u64::from(SIZE)
        })
        .await;
    }

    let held = match fault.route() {
        Some(mode) => {
            rig.proxy.set(mode).await;
            Vec::new()
        }
        None => fault.cause(&mut rig).await,
    };
    let expected = fault.expected(shape);
    for number in 0..3 {
        let one = async || {
            let before = rig.proxy.connections();
            let found = run(&check).await;
            (found, rig.proxy.connections() - before)
        };
        // Those of the pool, and one next to it.
        let is_right =
            |(found, made): &(Answer, u64)| *found == expected && *made <= u64::from(SIZE) + 1;
        let found = judged_on_time(one, is_right).await;
        assert!(
            is_right(&found),
            "{context}: run {number} made {found:?}, not {expected:?}"
        );
    }

    drop(held);
    if fault.route().is_some() {
        // Directly: a login that passes in between would be silenced after it.
        rig.proxy.set(fault.route_afterwards()).await;
    }
    fault.end(&mut rig).await;
    let allowed = fault.recovered(shape);
    if fault.is_slow_to_recover() {
        wait_until(&context, SOON, async || {
            let found = run(&check).await;
            println!("{context}: {found:?}");
            allowed.contains(&found)
        })
        .await;
    }
    let found = judged_on_time(async || run(&check).await, |found| allowed.contains(found)).await;
    assert!(
        allowed.contains(&found),
        "{context}: {found:?} after the recovery"
    );
    // Each connection of the pool serves the app.
    wait_until(&context, SOON, async || {
        if !fault.repair(&rig.pool, shape).await {
            return true;
        }
        let mut served = 0;
        for mut connection in hold(&rig.pool, SIZE).await {
            served += u32::from(connection.serve().await);
        }
        served == SIZE && is_served(&rig.pool).await
    })
    .await;
}

macro_rules! fault_tests {
    ($($name:ident: $fault:expr,)+) => {$(
        #[test]
        fn $name() {
            crate::fault_rows::in_every_shape($fault);
        }
    )+};
}

pub(crate) use fault_tests;

//! The one Postgres that all replicas share: virtual, behind a real `bb8` pool per replica.

use std::{
    io::{self, ErrorKind},
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bb8::{ManageConnection, Pool};
use tokio::time::{Instant, sleep};

/// One round trip within a data centre.
const ROUND_TRIP: Duration = Duration::from_millis(1);
/// TCP, start-up packet, authentication.
const LOGIN: Duration = Duration::from_millis(5);

tokio::task_local! {
    /// Set while a check runs: what reaches the server then is the check's.
    pub(crate) static CHECK: ();
}

/// Counts what reaches it, second by second, and is dead for a while.
#[derive(Debug)]
pub(crate) struct Postgres {
    start: Instant,
    dead: Range<Duration>,
    checks: Vec<AtomicU32>,
    connects: Vec<AtomicU32>,
}

/// What reached the server in each second.
#[derive(Clone, Debug)]
pub(crate) struct Arrivals {
    /// Questions of checks, connections that they made for themselves included.
    pub(crate) checks: Vec<u32>,
    /// Connections that the pools asked for.
    pub(crate) connects: Vec<u32>,
}

impl Postgres {
    pub(crate) fn new(seconds: usize, dead: Range<Duration>) -> Arc<Self> {
        let zeros = || (0..seconds).map(|_| AtomicU32::new(0)).collect();
        Arc::new(Self {
            start: Instant::now(),
            dead,
            checks: zeros(),
            connects: zeros(),
        })
    }

    pub(crate) fn arrivals(&self) -> Arrivals {
        let numbers = |counts: &[AtomicU32]| {
            let numbers = counts.iter().map(|count| count.load(Ordering::Relaxed));
            numbers.collect()
        };
        Arrivals {
            checks: numbers(&self.checks),
            connects: numbers(&self.connects),
        }
    }

    fn note(&self, counts: &[AtomicU32]) {
        let second = self.start.elapsed().as_secs();
        if let Some(count) = usize::try_from(second).ok().and_then(|at| counts.get(at)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn is_dead(&self) -> bool {
        self.dead.contains(&self.start.elapsed())
    }

    /// How many times it has died: a connection of before is gone.
    fn deaths(&self) -> u32 {
        u32::from(self.start.elapsed() >= self.dead.start)
    }
}

/// A replica's way to it.
#[derive(Clone, Debug)]
pub(crate) struct Manager(pub(crate) Arc<Postgres>);

#[derive(Debug)]
pub(crate) struct Connection {
    deaths: u32,
}

impl Manager {
    /// What an app has: four connections at most, tested when they are taken.
    pub(crate) fn pool(self) -> Pool<Self> {
        Pool::builder()
            .max_size(4)
            // bb8 measures these on the system's clock, which stands still here.
            .max_lifetime(None)
            .idle_timeout(None)
            .connection_timeout(Duration::from_secs(2))
            .build_unchecked(self)
    }

    fn is_gone(&self, connection: &Connection) -> bool {
        connection.deaths != self.0.deaths()
    }
}

impl ManageConnection for Manager {
    type Connection = Connection;
    type Error = io::Error;

    async fn connect(&self) -> io::Result<Connection> {
        let server = &self.0;
        match CHECK.try_with(|()| ()) {
            Ok(()) => server.note(&server.checks),
            Err(_) => server.note(&server.connects),
        }
        if server.is_dead() {
            return Err(ErrorKind::ConnectionRefused.into());
        }
        sleep(LOGIN).await;
        Ok(Connection {
            deaths: server.deaths(),
        })
    }

    async fn is_valid(&self, connection: &mut Connection) -> io::Result<()> {
        let server = &self.0;
        if CHECK.try_with(|()| ()).is_ok() {
            server.note(&server.checks);
        }
        sleep(ROUND_TRIP).await;
        if self.is_gone(connection) {
            return Err(ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }

    fn has_broken(&self, connection: &mut Connection) -> bool {
        self.is_gone(connection)
    }
}

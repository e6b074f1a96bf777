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

/// What is wrong with the server for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It refuses connections, and those of before are lost.
    Refuses,
    /// Each reply takes this long.
    Slow(Duration),
}

/// A server that counts checks and connects by the second, and is in trouble for a while.
#[derive(Debug)]
pub(crate) struct Postgres {
    start: Instant,
    trouble: Trouble,
    during: Range<Duration>,
    checks: Vec<AtomicU32>,
    connects: Vec<AtomicU32>,
}

/// What happened in each second.
#[derive(Clone, Debug)]
pub(crate) struct Arrivals {
    /// Runs of checks.
    pub(crate) checks: Vec<u32>,
    /// Attempts to open a connection.
    pub(crate) connects: Vec<u32>,
}

impl Postgres {
    pub(crate) fn new(seconds: usize, trouble: Trouble, during: Range<Duration>) -> Arc<Self> {
        let zeros = || (0..seconds).map(|_| AtomicU32::new(0)).collect();
        Arc::new(Self {
            start: Instant::now(),
            trouble,
            during,
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

    /// Counts a run of a check.
    pub(crate) fn count_check(&self) {
        self.count(&self.checks);
    }

    fn count(&self, counts: &[AtomicU32]) {
        let second = self.start.elapsed().as_secs();
        if let Some(count) = usize::try_from(second).ok().and_then(|at| counts.get(at)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Its trouble now.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        let now = self.start.elapsed();
        self.during.contains(&now).then_some(self.trouble)
    }

    /// How often it has lost its connections.
    fn losses(&self) -> u32 {
        let begun = self.start.elapsed() >= self.during.start;
        u32::from(begun && self.trouble == Trouble::Refuses)
    }

    /// One reply of the server.
    async fn reply(&self, usual: Duration) {
        match self.trouble() {
            Some(Trouble::Slow(time)) => sleep(time).await,
            _ => sleep(usual).await,
        }
    }
}

/// One replica's connections to the server.
#[derive(Clone, Debug)]
pub(crate) struct Manager(pub(crate) Arc<Postgres>);

#[derive(Debug)]
pub(crate) struct Connection {
    losses: u32,
}

impl Manager {
    /// An ordinary pool: at most four connections, tested at checkout.
    pub(crate) fn pool(self) -> Pool<Self> {
        Pool::builder()
            .max_size(4)
            // bb8 measures these on the system's clock, not on the paused one.
            .max_lifetime(None)
            .idle_timeout(None)
            .connection_timeout(Duration::from_secs(2))
            .build_unchecked(self)
    }

    fn is_gone(&self, connection: &Connection) -> bool {
        connection.losses != self.0.losses()
    }
}

impl ManageConnection for Manager {
    type Connection = Connection;
    type Error = io::Error;

    async fn connect(&self) -> io::Result<Connection> {
        let server = &self.0;
        server.count(&server.connects);
        if server.trouble() == Some(Trouble::Refuses) {
            return Err(ErrorKind::ConnectionRefused.into());
        }
        server.reply(LOGIN).await;
        Ok(Connection {
            losses: server.losses(),
        })
    }

    async fn is_valid(&self, connection: &mut Connection) -> io::Result<()> {
        let server = &self.0;
        server.reply(ROUND_TRIP).await;
        if self.is_gone(connection) {
            return Err(ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }

    fn has_broken(&self, connection: &mut Connection) -> bool {
        self.is_gone(connection)
    }
}

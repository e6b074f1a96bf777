//! A TCP proxy for the faults that signals cannot make: sockets that fall silent, a route that
//! comes back for new connections only, resets, and latency.
//!
//! It runs on its own thread, so that a test which blocks its runtime does not block the route.

use std::io;
use std::mem;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{self, Runtime};
use tokio::sync::{self, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::ports;
use super::wait::{MAXIMUM_WAIT, wait_until};

const CHUNK: usize = 16 * 1024;

/// What the route does with connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Forwards everything.
    Pass,
    /// Forwards as over a distance with this round trip: a connect takes one, each direction half of one.
    Distant(Duration),
    /// Forwards nothing. New connections are accepted; nothing is lost when the mode ends.
    Stall,
    /// Silences the connections that exist now permanently; forwards new ones.
    StallExisting,
    /// Forwards everything, also of silenced connections, as after a late retransmission.
    ResumeSilenced,
    /// Resets the connections that were silenced permanently; forwards all others.
    ResetSilenced,
    /// Resets every connection, those that exist and new ones once they are accepted.
    Reset,
    /// Resets every connection and closes the port.
    Refuse,
}

/// A route to a port on 127.0.0.1. Connections end with it.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    route: Arc<Route>,
    /// None while the port is closed.
    listening: sync::Mutex<Option<JoinHandle<()>>>,
    // Taken in `Drop`.
    runtime: Option<Runtime>,
}

impl Proxy {
    /// Opens a route to `target`, in mode [`Pass`](Mode::Pass).
    pub async fn start(target: u16) -> Self {
        let mut runtime = runtime::Builder::new_multi_thread();
        let proxy = Self {
            port: ports::unused_port(),
            route: Arc::new(Route {
                target,
                modes: Mutex::new(vec![watch::Sender::new(Mode::Pass)]),
                connections: AtomicU64::new(0),
                open: AtomicU64::new(0),
                round_trips: AtomicU64::new(0),
            }),
            listening: sync::Mutex::new(None),
            runtime: runtime.worker_threads(1).enable_all().build().ok(),
        };
        proxy.set(Mode::Pass).await;
        proxy
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes the mode; it is in force when this returns.
    pub async fn set(&self, mode: Mode) {
        let mut listening = self.listening.lock().await;
        if mode == Mode::Refuse
            && let Some(task) = listening.take()
        {
            task.abort();
            let _ = task.await;
            // A program that another thread starts at this moment inherits what we have closed, and
            // holds it until it is executed.
            wait_until("the port is closed", MAXIMUM_WAIT, async || {
                ports::is_closed(self.port)
            })
            .await;
        }
        for reset in self.route.change(mode) {
            reset.send_replace(Mode::Reset);
            // Each of its connections has a receiver.
            reset.closed().await;
        }
        if mode != Mode::Refuse && listening.is_none() {
            let runtime = self.runtime.as_ref().expect("taken in Drop only");
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port));
            let listener = runtime.spawn(listener).await.expect("no panic");
            let accepting = self
                .route
                .clone()
                .accept(listener.expect("the port is ours"));
            *listening = Some(runtime.spawn(accepting));
        }
    }

    /// How many connections were accepted, in any mode.
    pub fn connections(&self) -> u64 {
        self.route.connections.load(Ordering::Relaxed)
    }

    /// How many connections are open now.
    pub fn open_connections(&self) -> u64 {
        self.route.open.load(Ordering::Relaxed)
    }

    /// How often a client sent first or after the server had sent: what latency multiplies.
    pub fn round_trips(&self) -> u64 {
        self.route.round_trips.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // To wait is not allowed inside of another runtime.
            runtime.shutdown_background();
        }
    }
}

#[derive(Debug)]
struct Route {
    target: u16,
    /// The last is of new connections, the others are of those that were silenced.
    modes: Mutex<Vec<watch::Sender<Mode>>>,
    connections: AtomicU64,
    open: AtomicU64,
    round_trips: AtomicU64,
}

impl Route {
    /// Changes the mode, except that the connections of what this returns are still to be reset.
    fn change(&self, mode: Mode) -> Vec<watch::Sender<Mode>> {
        let mut modes = self.modes.lock().unwrap();
        let last = modes.len() - 1;
        let (changed, to) = match mode {
            // Those that were resumed, too.
            Mode::StallExisting => (0, Mode::Stall),
            Mode::ResumeSilenced => (0, Mode::Pass),
            Mode::ResetSilenced => (last, Mode::Pass),
            _ => (last, mode),
        };
        for sender in &modes[changed..] {
            sender.send_replace(to);
        }
        match mode {
            Mode::StallExisting => modes.push(watch::Sender::new(Mode::Pass)),
            Mode::ResetSilenced => return modes.drain(..last).collect(),
            Mode::Reset | Mode::Refuse => {
                return mem::replace(&mut *modes, vec![watch::Sender::new(mode)]);
            }
            _ => {}
        }
        Vec::new()
    }

    async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            let Ok((client, _)) = listener.accept().await else {
                continue;
            };
            let mode = self
                .modes
                .lock()
                .unwrap()
                .last()
                .expect("is there")
                .subscribe();
            self.connections.fetch_add(1, Ordering::Relaxed);
            self.open.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(self.clone().serve(client, mode));
        }
    }

    /// One connection, from its acceptance to its end.
    async fn serve(self: Arc<Self>, mut client: TcpStream, mut mode: watch::Receiver<Mode>) {
        let forwarding = mode.clone();
        let is_reset = |mode: &Mode| matches!(mode, Mode::Reset | Mode::Refuse);
        let ends_well = tokio::select! {
            biased;
            _ = mode.wait_for(is_reset) => false,
            outcome = self.forward(&mut client, forwarding) => outcome.is_ok(),
        };
        if !ends_well {
            let _ = client.set_zero_linger();
        }
        // Before `mode`, whose end is waited for.
        drop(client);
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    async fn forward(
        &self,
        client: &mut TcpStream,
        mut mode: watch::Receiver<Mode>,
    ) -> io::Result<()> {
        // The client sends at once, as if its connect had just ended.
        sleep(2 * delay(&mut mode).await).await;
        let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, self.target)).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        // Whether the server was the last to send; true at first, for clients that begin.
        let server_sent = AtomicBool::new(true);
        let to_server = pump(from_client, to_server, mode.clone(), || {
            if server_sent.swap(false, Ordering::Relaxed) {
                self.round_trips.fetch_add(1, Ordering::Relaxed);
            }
        });
        let to_client = pump(from_server, to_client, mode, || {
            server_sent.store(true, Ordering::Relaxed);
        });
        tokio::try_join!(to_server, to_client)?;
        Ok(())
    }
}

/// Forwards one direction until its end, or an error.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut mode: watch::Receiver<Mode>,
    sends: impl Fn(),
) -> io::Result<()> {
    // Two halves: while one chunk is on its way, the next may set out.
    let (departures, mut arrivals) = mpsc::channel(64);
    let mut gate = mode.clone();
    let departing = async move {
        let mut buffer = vec![0; CHUNK];
        loop {
            let length = from.read(&mut buffer).await?;
            let due = Instant::now() + delay(&mut gate).await;
            let chunk = buffer[..length].to_vec();
            if departures.send((due, chunk)).await.is_err() || length == 0 {
                return io::Result::Ok(());
            }
        }
    };
    let arriving = async move {
        while let Some((due, chunk)) = arrivals.recv().await {
            sleep_until(due).await;
            delay(&mut mode).await;
            if chunk.is_empty() {
                break;
            }
            sends();
            to.write_all(&chunk).await?;
        }
        to.shutdown().await
    };
    tokio::try_join!(departing, arriving)?;
    Ok(())
}

/// Waits while the mode stalls, and returns the latency that is in force then.
async fn delay(mode: &mut watch::Receiver<Mode>) -> Duration {
    let passes = |mode: &Mode| matches!(mode, Mode::Pass | Mode::Distant(_));
    match mode.wait_for(passes).await.map(|mode| *mode) {
        Ok(Mode::Distant(round_trip)) => round_trip / 2,
        Ok(_) => Duration::ZERO,
        // The proxy is about to end, and this connection with it.
        Err(_) => std::future::pending().await,
    }
}

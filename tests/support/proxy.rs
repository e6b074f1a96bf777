//! A TCP proxy for the faults that signals cannot make: sockets that fall silent, a route that
//! comes back for new connections only, resets, and latency.
//!
//! It runs on its own thread, so that a test which blocks its runtime does not block the route.

use std::io::{self, ErrorKind};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::ports;
use super::wait::{MAXIMUM_WAIT, POLL, wait_until};

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
    counters: Arc<Counters>,
    orders: mpsc::UnboundedSender<(Mode, oneshot::Sender<()>)>,
    // Taken in `Drop`.
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Counters {
    connections: AtomicU64,
    open: AtomicU64,
    round_trips: AtomicU64,
}

impl Proxy {
    /// Opens a route to `target`, in mode [`Pass`](Mode::Pass).
    pub async fn start(target: u16) -> Self {
        let port = ports::unused_port();
        let counters = Arc::new(Counters::default());
        let (orders, inbox) = mpsc::unbounded_channel();
        let route = Route {
            port,
            target,
            counters: counters.clone(),
        };
        let (ready, is_ready) = oneshot::channel();
        let thread = thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(route.serve(inbox, ready));
        });
        is_ready.await.expect("the proxy listens");
        Self {
            port,
            counters,
            orders,
            thread: Some(thread),
        }
    }

    /// Where clients connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes the mode; it is in force when this returns.
    pub async fn set(&self, mode: Mode) {
        let (done, is_done) = oneshot::channel();
        self.orders.send((mode, done)).expect("the proxy runs");
        is_done.await.expect("the proxy runs");
    }

    /// How many connections were accepted, in any mode.
    pub fn connections(&self) -> u64 {
        self.counters.connections.load(Ordering::Relaxed)
    }

    /// How many connections are open now.
    pub fn open_connections(&self) -> u64 {
        self.counters.open.load(Ordering::Relaxed)
    }

    /// How often a client sent first or after the server had sent: what latency multiplies.
    pub fn round_trips(&self) -> u64 {
        self.counters.round_trips.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // The end of the orders ends the thread.
        self.orders = mpsc::unbounded_channel().0;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Route {
    port: u16,
    target: u16,
    counters: Arc<Counters>,
}

impl Route {
    async fn serve(
        self,
        mut orders: mpsc::UnboundedReceiver<(Mode, oneshot::Sender<()>)>,
        ready: oneshot::Sender<()>,
    ) {
        let mut current = watch::Sender::new(Mode::Pass);
        // A sender per generation: those of silenced connections are kept, in mode `Stall`.
        let mut silenced = Vec::<watch::Sender<Mode>>::new();
        let mut connections = JoinSet::new();
        let mut listener = Some(self.listen().await);
        let _ = ready.send(());
        loop {
            tokio::select! {
                biased;
                order = orders.recv() => {
                    let Some((mode, done)) = order else { break };
                    match mode {
                        Mode::StallExisting => {
                            // Those that were resumed, too.
                            for sender in &silenced {
                                sender.send_replace(Mode::Stall);
                            }
                            current.send_replace(Mode::Stall);
                            silenced.push(current);
                            current = watch::Sender::new(Mode::Pass);
                        }
                        Mode::ResumeSilenced => {
                            for sender in &silenced {
                                sender.send_replace(Mode::Pass);
                            }
                            current.send_replace(Mode::Pass);
                        }
                        Mode::ResetSilenced => {
                            for sender in silenced.drain(..) {
                                sender.send_replace(Mode::Reset);
                                // Each of its connections has a receiver.
                                sender.closed().await;
                            }
                            current.send_replace(Mode::Pass);
                        }
                        Mode::Reset | Mode::Refuse => {
                            if mode == Mode::Refuse {
                                listener = None;
                                self.let_go().await;
                            }
                            current.send_replace(mode);
                            for sender in &silenced {
                                sender.send_replace(mode);
                            }
                            while connections.join_next().await.is_some() {}
                            silenced.clear();
                        }
                        Mode::Pass | Mode::Distant(_) | Mode::Stall => {
                            current.send_replace(mode);
                        }
                    }
                    if mode != Mode::Refuse && listener.is_none() {
                        listener = Some(self.listen().await);
                    }
                    let _ = done.send(());
                }
                stream = accept(listener.as_ref()) => {
                    self.counters.connections.fetch_add(1, Ordering::Relaxed);
                    let open = Open::new(self.counters.clone());
                    connections.spawn(connect(stream, self.target, current.subscribe(), open));
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }

    /// A program that another thread starts at this moment inherits what we have closed, and holds it
    /// until it is executed.
    async fn let_go(&self) {
        wait_until("the port is closed", MAXIMUM_WAIT, async || {
            ports::is_closed(self.port)
        })
        .await;
    }

    async fn listen(&self) -> TcpListener {
        let end = Instant::now() + MAXIMUM_WAIT;
        loop {
            match self.try_listen() {
                Ok(listener) => return listener,
                // A listener of ours that was inherited, as above.
                Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < end => {
                    sleep(POLL).await;
                }
                Err(error) => panic!("the proxy cannot listen on {}: {error}", self.port),
            }
        }
    }

    fn try_listen(&self) -> io::Result<TcpListener> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind((Ipv4Addr::LOCALHOST, self.port).into())?;
        socket.listen(1024)
    }
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else {
        return std::future::pending().await;
    };
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            return stream;
        }
    }
}

/// Counts a connection as open while it lives.
struct Open {
    counters: Arc<Counters>,
    // Whether the server was the last to send; true at first, for clients that begin.
    server_sent: AtomicBool,
}

impl Open {
    fn new(counters: Arc<Counters>) -> Self {
        counters.open.fetch_add(1, Ordering::Relaxed);
        Self {
            counters,
            server_sent: AtomicBool::new(true),
        }
    }

    fn count(&self, direction: Direction) {
        match direction {
            Direction::ToServer => {
                if self.server_sent.swap(false, Ordering::Relaxed) {
                    self.counters.round_trips.fetch_add(1, Ordering::Relaxed);
                }
            }
            Direction::ToClient => self.server_sent.store(true, Ordering::Relaxed),
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.counters.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Clone, Copy)]
enum Direction {
    ToServer,
    ToClient,
}

/// One connection, from its acceptance to its end.
async fn connect(mut client: TcpStream, target: u16, mode: watch::Receiver<Mode>, open: Open) {
    let mut resets = mode.clone();
    let reset = |mode: &Mode| matches!(mode, Mode::Reset | Mode::Refuse);
    let ends_well = tokio::select! {
        biased;
        _ = resets.wait_for(reset) => false,
        outcome = forward(&mut client, target, mode, &open) => outcome.is_ok(),
    };
    if !ends_well {
        let _ = client.set_zero_linger();
    }
}

async fn forward(
    client: &mut TcpStream,
    target: u16,
    mut mode: watch::Receiver<Mode>,
    open: &Open,
) -> io::Result<()> {
    delay(&mut mode).await;
    let round_trip = match *mode.borrow() {
        Mode::Distant(round_trip) => round_trip,
        _ => Duration::ZERO,
    };
    // The client sends at once, as if its connect had just ended.
    sleep(round_trip).await;
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let gate = mode.clone();
    tokio::try_join!(
        pump(from_client, to_server, Direction::ToServer, gate, open),
        pump(from_server, to_client, Direction::ToClient, mode, open),
    )?;
    Ok(())
}

/// Forwards one direction until its end, or an error.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    direction: Direction,
    mode: watch::Receiver<Mode>,
    open: &Open,
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
    let mut gate = mode;
    let arriving = async move {
        while let Some((due, chunk)) = arrivals.recv().await {
            sleep_until(due).await;
            delay(&mut gate).await;
            if chunk.is_empty() {
                break;
            }
            open.count(direction);
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

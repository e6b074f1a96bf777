//! The network between an app and a server, with what happens to networks.
//!
//! All routes of a process share one thread, so that a busy app does not slow its own network.
// Each bench uses a part of it.
#![allow(dead_code)]

use std::{
    io,
    net::Ipv4Addr,
    sync::{
        Arc, LazyLock, Mutex, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp},
    runtime::{Builder, Runtime},
    sync::{mpsc, watch},
    task::AbortHandle,
    time::{Instant, sleep, sleep_until},
};

static NETWORK: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("network")
        .enable_all()
        .build()
        .expect("a runtime")
});

/// A silent connection is reset after this, as `tcp_user_timeout` or keepalives would do it.
pub const SILENCE_ENDS: Duration = Duration::from_secs(15);

/// What happens to a connection that is made now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connects {
    Pass,
    /// It is accepted, and nothing passes for this long.
    After(Duration),
    /// It is accepted, and nothing ever passes, until it is reset.
    Never,
    Reset,
}

/// What the route does to every connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// In each direction: half of what it adds to a round trip.
    pub latency: Duration,
    /// Nothing passes, and nothing is lost.
    pub stalled: bool,
    pub connects: Connects,
}

impl State {
    pub const CLEAR: Self = Self {
        latency: Duration::ZERO,
        stalled: false,
        connects: Connects::Pass,
    };

    /// Nothing but distance.
    pub fn distant(round_trip: Duration) -> Self {
        Self {
            latency: round_trip / 2,
            ..Self::CLEAR
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Alive,
    Silent,
    Reset,
}

/// A port in front of a server's port. Its connections end with it.
pub struct Route {
    port: u16,
    shared: Arc<Shared>,
    accepting: AbortHandle,
}

struct Shared {
    target: u16,
    state: watch::Sender<State>,
    /// Held by the client, at this moment.
    open: AtomicU64,
    /// Held at the server, at this moment.
    at_server: AtomicU64,
    accepted: AtomicU64,
    fates: Mutex<Vec<Weak<watch::Sender<Fate>>>>,
}

impl Route {
    pub async fn start(target: u16, state: State) -> Self {
        let serve = async move {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let port = listener.local_addr()?.port();
            let shared = Arc::new(Shared {
                target,
                state: watch::Sender::new(state),
                open: AtomicU64::new(0),
                at_server: AtomicU64::new(0),
                accepted: AtomicU64::new(0),
                fates: Mutex::default(),
            });
            let accepting = NETWORK.spawn(accept(listener, shared.clone()));
            let accepting = accepting.abort_handle();
            io::Result::Ok(Self {
                port,
                shared,
                accepting,
            })
        };
        NETWORK
            .spawn(serve)
            .await
            .expect("no panic")
            .expect("a port")
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn set(&self, state: State) {
        self.shared.state.send_replace(state);
    }

    /// Silences the oldest connections until they are reset, at most so many.
    pub fn silence(&self, most: usize) {
        self.decide(most, |fate| fate != Fate::Silent, Fate::Silent);
    }

    /// Resets every connection that is not silent.
    pub fn reset_living(&self) {
        self.decide(usize::MAX, |fate| fate == Fate::Alive, Fate::Reset);
    }

    /// Resets every connection, silent ones too.
    pub fn reset(&self) {
        self.decide(usize::MAX, |fate| fate != Fate::Reset, Fate::Reset);
    }

    /// Sockets that clients hold open now.
    pub fn open(&self) -> u64 {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// Sockets that the server holds open now.
    pub fn at_server(&self) -> u64 {
        self.shared.at_server.load(Ordering::Relaxed)
    }

    /// Sockets that clients opened so far.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    fn decide(&self, most: usize, of: impl Fn(Fate) -> bool, fate: Fate) {
        let mut fates = self.shared.fates.lock().expect("no panic");
        fates.retain(|known| known.strong_count() > 0);
        let living = fates.iter().filter_map(Weak::upgrade);
        let affected = living.filter(|known| of(*known.borrow()));
        for known in affected.take(most) {
            known.send_replace(fate);
        }
    }
}

impl Drop for Route {
    fn drop(&mut self) {
        self.accepting.abort();
        self.reset();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        shared.accepted.fetch_add(1, Ordering::Relaxed);
        let (born, delay) = match shared.state.borrow().connects {
            Connects::Pass => (Fate::Alive, Duration::ZERO),
            Connects::After(delay) => (Fate::Alive, delay),
            Connects::Never => (Fate::Silent, Duration::ZERO),
            Connects::Reset => (Fate::Reset, Duration::ZERO),
        };
        let fate = Arc::new(watch::Sender::new(born));
        let mut fates = shared.fates.lock().expect("no panic");
        if fates.len() > 256 {
            fates.retain(|known| known.strong_count() > 0);
        }
        fates.push(Arc::downgrade(&fate));
        drop(fates);
        tokio::spawn(carry(client, delay, fate, shared.clone()));
    }
}

/// Counts one while it lives.
struct Counted<'a>(&'a AtomicU64);

impl<'a> Counted<'a> {
    fn new(counter: &'a AtomicU64) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(counter)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One connection, to its end.
async fn carry(
    mut client: TcpStream,
    delay: Duration,
    fate: Arc<watch::Sender<Fate>>,
    shared: Arc<Shared>,
) {
    let (mut resets, mut silences) = (fate.subscribe(), fate.subscribe());
    let silence_ends = async {
        let _ = silences.wait_for(|fate| *fate == Fate::Silent).await;
        sleep(SILENCE_ENDS).await;
    };
    let ends_well = tokio::select! {
        biased;
        _ = resets.wait_for(|fate| *fate == Fate::Reset) => false,
        () = silence_ends => false,
        result = forward(&mut client, delay, &fate, &shared) => result.is_ok(),
    };
    if !ends_well {
        let _ = client.set_zero_linger();
    }
}

async fn forward(
    client: &mut TcpStream,
    delay: Duration,
    fate: &watch::Sender<Fate>,
    shared: &Shared,
) -> io::Result<()> {
    let open = Counted::new(&shared.open);
    let gate = || (fate.subscribe(), shared.state.subscribe());
    let (mut alive, mut state) = gate();
    let silent = *alive.borrow() == Fate::Silent;
    if silent {
        // Until the client gives up.
        client.read_to_end(&mut Vec::new()).await?;
        return Ok(());
    }
    // TCP's own round trip comes first; here the client has had its answer already.
    let handshake = state.borrow().latency * 2;
    sleep(delay + handshake).await;
    pass(&mut alive, &mut state).await;
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, shared.target)).await?;
    let _at_server = Counted::new(&shared.at_server);
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    tokio::try_join!(
        pump(from_client, to_server, gate(), Some(open)),
        pump(from_server, to_client, gate(), None),
    )?;
    Ok(())
}

type Gate = (watch::Receiver<Fate>, watch::Receiver<State>);

/// Forwards one direction to its end; `open` ends when the reading does.
async fn pump(
    mut from: tcp::ReadHalf<'_>,
    mut to: tcp::WriteHalf<'_>,
    (mut alive, mut state): Gate,
    open: Option<Counted<'_>>,
) -> io::Result<()> {
    // Two halves: while one chunk is on its way, the next may set out.
    let (departures, mut arrivals) = mpsc::unbounded_channel();
    let latencies = state.clone();
    let departing = async move {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let length = from.read(&mut buffer).await.unwrap_or(0);
            let due = Instant::now() + latencies.borrow().latency;
            let _ = departures.send((due, buffer[..length].to_vec()));
            if length == 0 {
                drop(open);
                return io::Result::Ok(());
            }
        }
    };
    let arriving = async move {
        while let Some((due, chunk)) = arrivals.recv().await {
            sleep_until(due).await;
            pass(&mut alive, &mut state).await;
            if chunk.is_empty() {
                break;
            }
            to.write_all(&chunk).await?;
        }
        to.shutdown().await
    };
    tokio::try_join!(departing, arriving)?;
    Ok(())
}

/// Waits until something can pass, which may be never.
async fn pass(alive: &mut watch::Receiver<Fate>, state: &mut watch::Receiver<State>) {
    let open = state.wait_for(|state| !state.stalled).await.is_ok();
    let alive = alive.wait_for(|fate| *fate == Fate::Alive).await.is_ok();
    if !(open && alive) {
        std::future::pending().await
    }
}

//! The test route and its ports keep their promises.

use std::io::ErrorKind;
use std::net::TcpListener as StdTcpListener;
use std::os::unix::process::CommandExt;
use std::pin::pin;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::support::{Mode, Proxy, unused_port, wait_until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

/// How long an answer may take.
const SOON: Duration = Duration::from_secs(30);
/// How long no answer must come to call it silence.
const SILENCE: Duration = Duration::from_millis(150);

/// A server that answers each byte with the same byte.
async fn echo() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    port
}

async fn connect(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(("127.0.0.1", proxy.port()))
        .await
        .unwrap()
}

async fn ask(stream: &mut TcpStream, byte: u8) -> std::io::Result<u8> {
    stream.write_u8(byte).await?;
    stream.read_u8().await
}

async fn is_silent(stream: &mut TcpStream) -> bool {
    timeout(SILENCE, stream.read_u8()).await.is_err()
}

#[tokio::test]
async fn the_route_passes_and_counts() {
    let proxy = Proxy::start(echo().await).await;
    let mut stream = connect(&proxy).await;
    for byte in 0..10 {
        assert_eq!(ask(&mut stream, byte).await.unwrap(), byte);
    }
    let counts = (
        proxy.connections(),
        proxy.open_connections(),
        proxy.round_trips(),
        proxy.bytes_sent(),
        proxy.bytes_received(),
    );
    assert_eq!(counts, (1, 1, 10, 10, 10));

    // An orderly end passes as well, and takes nothing along.
    let long = vec![7; 1_000_000];
    let (mut from, mut to) = stream.split();
    let mut back = Vec::new();
    let (sent, received) = tokio::join!(
        async {
            to.write_all(&long).await?;
            to.shutdown().await
        },
        from.read_to_end(&mut back),
    );
    sent.unwrap();
    received.unwrap();
    assert_eq!(back, long);
    wait_until("the connection is closed", SOON, async || {
        proxy.open_connections() == 0
    })
    .await;
}

#[tokio::test]
async fn a_stalled_route_is_silent_and_loses_nothing() {
    let proxy = Proxy::start(echo().await).await;
    let mut old = connect(&proxy).await;
    assert_eq!(ask(&mut old, 1).await.unwrap(), 1);
    proxy.set(Mode::Stall).await;
    let mut new = connect(&proxy).await;
    old.write_u8(2).await.unwrap();
    new.write_u8(3).await.unwrap();
    assert!(is_silent(&mut old).await && is_silent(&mut new).await);
    proxy.set(Mode::Pass).await;
    assert_eq!(old.read_u8().await.unwrap(), 2);
    assert_eq!(new.read_u8().await.unwrap(), 3);
}

#[tokio::test]
async fn the_route_can_come_back_for_new_connections_only() {
    let proxy = Proxy::start(echo().await).await;
    let mut old = connect(&proxy).await;
    assert_eq!(ask(&mut old, 1).await.unwrap(), 1);
    proxy.set(Mode::Stall).await;
    let mut stalled = connect(&proxy).await;
    wait_until("the second is accepted", SOON, async || {
        proxy.connections() == 2
    })
    .await;
    proxy.set(Mode::StallExisting).await;
    let mut new = connect(&proxy).await;
    assert_eq!(ask(&mut new, 4).await.unwrap(), 4);
    for mode in [Mode::Pass, Mode::Stall, Mode::Pass] {
        proxy.set(mode).await;
        old.write_u8(2).await.unwrap();
        stalled.write_u8(3).await.unwrap();
        assert!(is_silent(&mut old).await && is_silent(&mut stalled).await);
    }
    assert_eq!(ask(&mut new, 5).await.unwrap(), 5);
}

#[tokio::test]
async fn a_reset_route_resets_old_and_new_connections() {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset};

    let proxy = Proxy::start(echo().await).await;
    let (mut old, mut silenced) = (connect(&proxy).await, connect(&proxy).await);
    assert_eq!(ask(&mut old, 1).await.unwrap(), 1);
    assert_eq!(ask(&mut silenced, 1).await.unwrap(), 1);
    proxy.set(Mode::StallExisting).await;
    let mut current = connect(&proxy).await;
    assert_eq!(ask(&mut current, 1).await.unwrap(), 1);
    proxy.set(Mode::Reset).await;
    for stream in [&mut old, &mut silenced, &mut current] {
        let error = stream.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), ConnectionReset);
    }
    // The reset may come as early as `connect`.
    if let Ok(mut new) = TcpStream::connect(("127.0.0.1", proxy.port())).await {
        let error = ask(&mut new, 1).await.unwrap_err();
        assert!(matches!(error.kind(), ConnectionReset | BrokenPipe));
    }
    proxy.set(Mode::Pass).await;
    let mut new = connect(&proxy).await;
    assert_eq!(ask(&mut new, 9).await.unwrap(), 9);
}

#[tokio::test]
async fn a_refusing_route_closes_the_port_and_opens_it_again() {
    let proxy = Proxy::start(echo().await).await;
    let mut old = connect(&proxy).await;
    assert_eq!(ask(&mut old, 1).await.unwrap(), 1);
    for _ in 0..3 {
        proxy.set(Mode::Refuse).await;
        assert!(old.read_u8().await.is_err());
        let refused = TcpStream::connect(("127.0.0.1", proxy.port())).await;
        assert_eq!(
            refused.unwrap_err().kind(),
            std::io::ErrorKind::ConnectionRefused
        );
        proxy.set(Mode::Pass).await;
        old = connect(&proxy).await;
        assert_eq!(ask(&mut old, 2).await.unwrap(), 2);
    }
}

#[tokio::test]
async fn latency_is_added_in_each_direction() {
    const LATENCY: Duration = Duration::from_millis(60);

    let proxy = Proxy::start(echo().await).await;
    let mut stream = connect(&proxy).await;
    assert_eq!(ask(&mut stream, 1).await.unwrap(), 1);
    proxy.set(Mode::Delay(LATENCY)).await;
    let start = Instant::now();
    assert_eq!(ask(&mut stream, 1).await.unwrap(), 1);
    assert!(start.elapsed() >= 2 * LATENCY);
}

#[tokio::test]
async fn a_distance_costs_a_connect_and_a_round_trip() {
    const ROUND_TRIP: Duration = Duration::from_millis(120);

    let proxy = Proxy::start(echo().await).await;
    proxy.set(Mode::Distant(ROUND_TRIP)).await;
    let start = Instant::now();
    let mut stream = connect(&proxy).await;
    assert_eq!(ask(&mut stream, 1).await.unwrap(), 1);
    assert!(start.elapsed() >= 2 * ROUND_TRIP, "connect and question");
    let start = Instant::now();
    assert_eq!(ask(&mut stream, 2).await.unwrap(), 2);
    assert!(start.elapsed() >= ROUND_TRIP, "question");
}

#[tokio::test]
async fn silenced_connections_resume_without_loss() {
    let proxy = Proxy::start(echo().await).await;
    let mut old = connect(&proxy).await;
    assert_eq!(ask(&mut old, 1).await.unwrap(), 1);
    proxy.set(Mode::StallExisting).await;
    old.write_u8(2).await.unwrap();
    assert!(is_silent(&mut old).await);
    proxy.set(Mode::ResumeSilenced).await;
    let answer = timeout(SOON, old.read_u8()).await;
    assert_eq!(answer.unwrap().unwrap(), 2);
    // Silenced once more, like any other.
    proxy.set(Mode::StallExisting).await;
    old.write_u8(3).await.unwrap();
    assert!(is_silent(&mut old).await);
}

#[tokio::test]
async fn silenced_connections_are_reset_and_no_others() {
    let proxy = Proxy::start(echo().await).await;
    let mut old = connect(&proxy).await;
    assert_eq!(ask(&mut old, 1).await.unwrap(), 1);
    proxy.set(Mode::StallExisting).await;
    let mut new = connect(&proxy).await;
    assert_eq!(ask(&mut new, 2).await.unwrap(), 2);
    proxy.set(Mode::ResetSilenced).await;
    let end = timeout(SOON, old.read_u8()).await.unwrap();
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(ask(&mut new, 3).await.unwrap(), 3);
    wait_until("one is left", SOON, async || proxy.open_connections() == 1).await;
}

/// Programs that start while it lives: each inherits the sockets there are, and has them for a moment.
struct Starting {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Starting {
    fn begin() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        // With an account to change to, a program is forked and not spawned, which takes longer.
        let ours = nix::unistd::getuid().as_raw();
        let start = |_| {
            let stop = stop.clone();
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let _ = Command::new("true").uid(ours).status();
                }
            })
        };
        let threads = (0..4).map(start).collect();
        Self { stop, threads }
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[tokio::test]
async fn an_unused_port_is_free_at_once_while_programs_start() {
    let _starting = Starting::begin();
    let listen = || StdTcpListener::bind(("127.0.0.1", unused_port()));
    let refused: Vec<_> = (0..1_000).filter_map(|_| listen().err()).collect();
    assert!(refused.is_empty(), "{refused:?}");
}

#[tokio::test]
async fn a_refusing_route_is_closed_while_programs_start() {
    let target = StdTcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::start(target.local_addr().unwrap().port()).await;
    let _starting = Starting::begin();
    for _ in 0..200 {
        proxy.set(Mode::Refuse).await;
        let called = TcpStream::connect(("127.0.0.1", proxy.port())).await;
        assert_eq!(called.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        proxy.set(Mode::Pass).await;
    }
}

#[tokio::test]
async fn the_route_comes_back_once_its_port_is_let_go() {
    let target = StdTcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::start(target.local_addr().unwrap().port()).await;
    proxy.set(Mode::Refuse).await;
    let held = StdTcpListener::bind(("127.0.0.1", proxy.port())).unwrap();
    let mut comes_back = pin!(proxy.set(Mode::Pass));
    assert!(timeout(SILENCE, &mut comes_back).await.is_err());
    drop(held);
    comes_back.await;
    assert!(
        TcpStream::connect(("127.0.0.1", proxy.port()))
            .await
            .is_ok()
    );
}

#![cfg(feature = "grpc")]
//! What is no well-formed call gets the status that the protocol has for it, and at once.

use std::{
    net::{Shutdown, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    thread,
    time::Duration,
};

use bytes::Bytes;
use grpc::{serve, soon};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::{
    body::{Frame, Incoming},
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, Handle},
    sync::{mpsc, oneshot, watch},
    time::sleep,
};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{body::Body, service::Routes, transport::Server};
use tower::util::MapRequestLayer;
use tower_health::{Dependency, Health, HealthLayer, Outcome};

mod grpc;

type Chunks = StreamBody<ReceiverStream<Result<Frame<Bytes>, std::io::Error>>>;

const CHECK: &str = "/grpc.health.v1.Health/Check";
/// A request for `""`, and the prefix of one that has 2 bytes.
const EMPTY: &[u8] = b"\0\0\0\0\0";

/// What came of a call.
#[derive(Debug)]
struct Outcomes {
    head: http::response::Parts,
    body: Bytes,
    trailers: Option<HeaderMap>,
}

impl Outcomes {
    /// The status, wherever it stands: in the head it is the only one.
    fn status(&self) -> Option<&str> {
        let in_head = self.head.headers.get("grpc-status");
        let in_trailers = self
            .trailers
            .as_ref()
            .and_then(|map| map.get("grpc-status"));
        assert!(in_head.is_none() || in_trailers.is_none());
        in_head.or(in_trailers)?.to_str().ok()
    }
}

async fn outcome(response: Response<Incoming>) -> Outcomes {
    let (head, body) = response.into_parts();
    let collected = soon(body.collect()).await.expect("a whole response");
    let trailers = collected.trailers().cloned();
    Outcomes {
        head,
        body: collected.to_bytes(),
        trailers,
    }
}

async fn connect(stream: TcpStream) -> SendRequest<Chunks> {
    let io = TokioIo::new(stream);
    let (client, connection) = soon(http2::handshake(TokioExecutor::new(), io))
        .await
        .expect("shakes hands");
    tokio::spawn(connection);
    client
}

/// Sends `chunks` and, when they are all, ends the stream if it `ends`.
async fn call(
    address: SocketAddr,
    request: http::request::Builder,
    chunks: &[&'static [u8]],
    ends: bool,
) -> Outcomes {
    let stream = soon(TcpStream::connect(address)).await.expect("connects");
    let mut client = connect(stream).await;
    let (sender, receiver) = mpsc::channel(16);
    for chunk in chunks {
        let frame = Frame::data(Bytes::from_static(chunk));
        sender.try_send(Ok(frame)).expect("room");
    }
    let open = (!ends).then_some(sender);
    let body: Chunks = StreamBody::new(ReceiverStream::new(receiver));
    let request = request.body(body).expect("valid");
    let outcome = outcome(soon(client.send_request(request)).await.expect("answered")).await;
    drop(open);
    outcome
}

fn request(method: Method, path: &str, headers: &[(&str, &str)]) -> http::request::Builder {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("http://test{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request
}

const GRPC: (&str, &str) = ("content-type", "application/grpc");

#[tokio::test]
async fn a_good_call_ends_with_trailers() {
    let address = serve(HealthLayer::new(Health::builder().build())).await;
    // However the frame is cut, and whether or not the caller has ended its side.
    let table: [(&[&'static [u8]], bool); 4] = [
        (&[EMPTY], true),
        (&[EMPTY], false),
        (&[b"\0", b"\0\0\0", b"\0"], true),
        (&[b"\0\0\0\0\x02", b"\x10\x07"], false),
    ];
    for (chunks, ends) in table {
        let found = call(address, request(Method::POST, CHECK, &[GRPC]), chunks, ends).await;
        assert_eq!(found.head.status, StatusCode::OK);
        assert_eq!(found.head.headers["content-type"], "application/grpc");
        assert_eq!(&found.body[..], b"\0\0\0\0\x02\x08\x01", "{chunks:?}");
        let trailers = found.trailers.expect("trailers");
        assert_eq!(trailers["grpc-status"], "0");
        assert!(!found.head.headers.contains_key("grpc-status"));
        assert!(!found.head.headers.contains_key("content-length"));
    }
}

#[tokio::test]
async fn malformed_calls_are_refused_in_the_head() {
    let address = serve(HealthLayer::new(Health::builder().build())).await;
    let post = |headers: &[(&str, &str)]| request(Method::POST, CHECK, headers);
    let gzip = [GRPC, ("grpc-encoding", "gzip")];
    // Request, chunks, whether the caller ends its side, HTTP code, grpc-status.
    type Row = (
        &'static str,
        http::request::Builder,
        &'static [&'static [u8]],
        bool,
        u16,
        &'static str,
    );
    let table: [Row; 22] = [
        (
            "GET",
            request(Method::GET, CHECK, &[GRPC]),
            &[],
            true,
            405,
            "13",
        ),
        (
            "PUT",
            request(Method::PUT, CHECK, &[GRPC]),
            &[EMPTY],
            true,
            405,
            "13",
        ),
        ("no content-type", post(&[]), &[EMPTY], true, 415, "3"),
        (
            "JSON",
            post(&[("content-type", "application/json")]),
            &[EMPTY],
            true,
            415,
            "3",
        ),
        (
            "grpc-web",
            post(&[("content-type", "application/grpc-web")]),
            &[EMPTY],
            true,
            415,
            "3",
        ),
        (
            "a codec of its own",
            post(&[("content-type", "application/grpc+json")]),
            &[EMPTY],
            true,
            200,
            "12",
        ),
        ("no message", post(&[GRPC]), &[], true, 200, "13"),
        ("half a prefix", post(&[GRPC]), &[b"\0\0"], true, 200, "13"),
        (
            "half a message",
            post(&[GRPC]),
            &[b"\0\0\0\0\x05ab"],
            true,
            200,
            "13",
        ),
        (
            "compressed",
            post(&gzip),
            &[b"\x01\0\0\0\0"],
            true,
            200,
            "12",
        ),
        (
            "compressed by nothing",
            post(&[GRPC]),
            &[b"\x01\0\0\0\0"],
            true,
            200,
            "13",
        ),
        (
            "a flag that is none",
            post(&[GRPC]),
            &[b"\x02\0\0\0\0"],
            false,
            200,
            "13",
        ),
        (
            "two messages",
            post(&[GRPC]),
            &[b"\0\0\0\0\0\0\0\0\0\0"],
            true,
            200,
            "13",
        ),
        (
            "too large",
            post(&[GRPC]),
            &[b"\0\0\x01\0\x01"],
            false,
            200,
            "8",
        ),
        (
            "the largest number",
            post(&[GRPC]),
            &[b"\0\xff\xff\xff\xff"],
            false,
            200,
            "8",
        ),
        (
            "no protobuf",
            post(&[GRPC]),
            &[b"\0\0\0\0\x02\xff\xff"],
            true,
            200,
            "13",
        ),
        (
            "no UTF-8",
            post(&[GRPC]),
            &[b"\0\0\0\0\x03\x0a\x01\xff"],
            true,
            200,
            "13",
        ),
        (
            "no timeout",
            post(&[GRPC, ("grpc-timeout", "soon")]),
            &[EMPTY],
            true,
            200,
            "13",
        ),
        (
            "never sent",
            post(&[GRPC, ("grpc-timeout", "50m")]),
            &[],
            false,
            200,
            "4",
        ),
        (
            "never all sent",
            post(&[GRPC, ("grpc-timeout", "50m")]),
            &[b"\0\0\0\0\x02a"],
            false,
            200,
            "4",
        ),
        (
            "unknown method",
            request(Method::POST, "/grpc.health.v1.Health/Cheque", &[GRPC]),
            &[EMPTY],
            true,
            200,
            "12",
        ),
        (
            "unknown service",
            post(&[GRPC]),
            &[b"\0\0\0\0\x03\x0a\x01x"],
            true,
            200,
            "5",
        ),
    ];
    for (case, request, chunks, ends, code, status) in table {
        let found = call(address, request, chunks, ends).await;
        assert_eq!(found.head.status.as_u16(), code, "{case}");
        assert_eq!(found.status(), Some(status), "{case}");
        // Trailers-only.
        assert_eq!(
            found.head.headers["content-type"], "application/grpc",
            "{case}"
        );
        assert!(found.head.headers.contains_key("grpc-message"), "{case}");
        assert_eq!((found.body.len(), found.trailers), (0, None), "{case}");
    }
    let not_allowed = call(address, request(Method::GET, CHECK, &[]), &[], true).await;
    assert_eq!(not_allowed.head.headers["allow"], "POST");
    let compressed = call(address, post(&gzip), &[b"\x01\0\0\0\0"], true).await;
    assert_eq!(compressed.head.headers["grpc-accept-encoding"], "identity");
}

#[tokio::test]
async fn compression_may_be_announced_and_not_used() {
    let address = serve(HealthLayer::new(Health::builder().build())).await;
    let headers = [
        GRPC,
        ("grpc-encoding", "gzip"),
        ("grpc-accept-encoding", "gzip"),
    ];
    let found = call(
        address,
        request(Method::POST, CHECK, &headers),
        &[EMPTY],
        true,
    )
    .await;
    assert_eq!(found.status(), Some("0"));
}

#[tokio::test]
async fn other_paths_reach_the_inner_service() {
    let address = serve(HealthLayer::new(Health::builder().build())).await;
    for path in [
        "/grpc.health.v1.Health",
        "/grpc.health.v1.Health/",
        "/grpc.health.v1.Health/Check/x",
        "/grpc.health.v1.health/Check",
        "/grpc.health.v2.Health/Check",
        "/x/grpc.health.v1.Health/Check",
    ] {
        let found = call(
            address,
            request(Method::POST, path, &[GRPC]),
            &[EMPTY],
            true,
        )
        .await;
        // tonic's word for a service that it has not; ours comes with a message.
        assert_eq!(found.status(), Some("12"), "{path}");
        assert!(!found.head.headers.contains_key("grpc-message"), "{path}");
    }
}

#[tokio::test]
async fn the_deadline_bounds_the_wait() {
    let hangs = || {
        Dependency::new("hangs", async || {
            std::future::pending::<()>().await;
            Ok(Outcome::up())
        })
        .timeout(Duration::from_secs(600))
    };
    let unknown = serve(HealthLayer::new(
        Health::builder()
            .add(hangs())
            .answer_within(Duration::from_secs(600))
            .build(),
    ))
    .await;
    let headers = [GRPC, ("grpc-timeout", "100m")];
    let ask = || request(Method::POST, CHECK, &headers);
    let found = call(unknown, ask(), &[EMPTY], true).await;
    assert_eq!(found.status(), Some("4"), "no verdict");
    // A watch ends with its deadline, and has said what it knew.
    let watch = request(Method::POST, "/grpc.health.v1.Health/Watch", &headers);
    let found = call(unknown, watch, &[EMPTY], true).await;
    assert_eq!(&found.body[..], b"\0\0\0\0\x02\x08\x02");
    assert_eq!(found.status(), Some("4"));

    // The first run is quick, all others hang: its verdict is the last.
    let first = Arc::new(AtomicBool::new(true));
    let health = Health::builder()
        .add(
            Dependency::new("database", move || {
                let quick = first.swap(false, Ordering::SeqCst);
                async move {
                    if !quick {
                        std::future::pending::<()>().await;
                    }
                    Ok(Outcome::up())
                }
            })
            .cache_for(Duration::ZERO)
            .timeout(Duration::from_secs(600)),
        )
        .answer_within(Duration::from_secs(600))
        .build();
    assert!(health.report().await.status.is_serving());
    let known = serve(HealthLayer::new(health)).await;
    let found = call(known, ask(), &[EMPTY], true).await;
    assert_eq!(&found.body[..], b"\0\0\0\0\x02\x08\x01", "the last verdict");
    assert_eq!(found.status(), Some("0"));
}

/// A request's body, which counts among those that wait from the moment that its message is begun
/// and no more of it is there, until it is dropped.
struct Counted {
    body: Body,
    begun: bool,
    waits: Option<Waits>,
    waiting: watch::Sender<usize>,
}

struct Waits(watch::Sender<usize>);

impl Waits {
    fn one_of(waiting: &watch::Sender<usize>) -> Self {
        waiting.send_modify(|waiting| *waiting += 1);
        Self(waiting.clone())
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| *waiting -= 1);
    }
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.begun |= matches!(polled, Poll::Ready(Some(Ok(_))));
        if self.begun && polled.is_pending() && self.waits.is_none() {
            self.waits = Some(Waits::one_of(&self.waiting));
        }
        polled
    }
}

/// A server with a runtime of its own, whose clock stands still: no deadline ever clears anything up.
struct Stopped {
    address: SocketAddr,
    runtime: Handle,
    /// Calls whose message is begun and not all there.
    waiting: watch::Receiver<usize>,
    _end: oneshot::Sender<()>,
}

impl Stopped {
    async fn start() -> Self {
        let (waiting, watched) = watch::channel(0);
        let (end, ended) = oneshot::channel::<()>();
        let (begin, begun) = oneshot::channel();
        thread::spawn(move || {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .start_paused(true)
                .build();
            runtime.expect("a runtime").block_on(async move {
                // A paused clock moves on when all is idle, but not while something blocks.
                tokio::task::spawn_blocking(move || ended.blocking_recv());
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
                let address = listener.local_addr().expect("bound");
                let counting = MapRequestLayer::new(move |request: Request<Body>| {
                    request.map(|body| {
                        Body::new(Counted {
                            body,
                            begun: false,
                            waits: None,
                            waiting: waiting.clone(),
                        })
                    })
                });
                let server = Server::builder()
                    .layer(counting)
                    .layer(HealthLayer::new(Health::builder().build()))
                    .add_routes(Routes::default())
                    .serve_with_incoming(TcpListenerStream::new(listener));
                let _ = begin.send((address, Handle::current()));
                server.await.expect("serves");
            });
        });
        let (address, runtime) = soon(begun).await.expect("is served");
        Self {
            address,
            runtime,
            waiting: watched,
            _end: end,
        }
    }

    async fn holds(&mut self, calls: usize) {
        let waited = soon(self.waiting.wait_for(|waiting| *waiting == calls)).await;
        waited.expect("the server is there");
    }

    async fn has_tasks(&self, tasks: usize) {
        soon(async {
            while self.runtime.metrics().num_alive_tasks() != tasks {
                sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }
}

/// Callers that go away in the midst of their message, by their connection or by the call alone.
#[tokio::test]
async fn callers_that_go_away_leave_nothing_behind() {
    const CALLS: usize = 20;

    let mut server = Stopped::start().await;
    let idle = server.runtime.metrics().num_alive_tasks();
    for by_connection in [true, false] {
        let (mut calls, mut sockets) = (Vec::new(), Vec::new());
        for _ in 0..CALLS {
            // Cut off by its socket: hyper's tasks for a connection outlive one another.
            let stream = std::net::TcpStream::connect(server.address).expect("connects");
            stream.set_nonblocking(true).expect("set");
            sockets.push(stream.try_clone().expect("a second handle"));
            let stream = TcpStream::from_std(stream).expect("a stream");
            let mut client = connect(stream).await;
            let (sender, receiver) = mpsc::channel(2);
            let part = Frame::data(Bytes::from_static(b"\0\0\0"));
            sender.try_send(Ok(part)).expect("room");
            let body: Chunks = StreamBody::new(ReceiverStream::new(receiver));
            let request = request(Method::POST, CHECK, &[GRPC]).body(body);
            let answer = client.send_request(request.expect("valid"));
            calls.push((sender, tokio::spawn(answer), client));
        }
        server.holds(CALLS).await;
        if !by_connection {
            for (sender, _, _) in &calls {
                // A body that fails resets its stream.
                let gone = std::io::Error::other("gone");
                sender.try_send(Err(gone)).expect("room");
            }
            server.holds(0).await;
        }
        for socket in sockets {
            socket.shutdown(Shutdown::Both).expect("was open");
        }
        server.holds(0).await;
        server.has_tasks(idle).await;
    }
    let empty = request(Method::POST, CHECK, &[GRPC]);
    let found = call(server.address, empty, &[EMPTY], true).await;
    assert_eq!(found.status(), Some("0"));
}

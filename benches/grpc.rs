//! User instructions of a whole HTTP/2 connection per `Check`: hyper, the service, and what is written.
//!
//! Without sockets, so that the kernel is not in it. Counted by callgrind as in
//! `connection`; fails when a ratio is over its limit.
//!
//! `cargo bench --bench grpc --features grpc`

mod support;

use std::{
    cell::RefCell,
    collections::VecDeque,
    convert::Infallible,
    future::Future,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    rt::{Executor, Read, ReadBufCursor},
    server::conn::http2,
};
use hyper_util::service::TowerToHyperService as Hyper;
use support::{
    callgrind::{REQUESTS, count, is_missing, variant},
    wire::Socket,
};
use tonic::{body::Body, server::NamedService, service::Routes};
use tonic_health::{ServingStatus, server::health_reporter};
use tower_health::{Dependency, Health, Outcome, Probe};
use tower_service::Service;

/// The service that is mapped to a group.
const SERVICE: &str = "shop.v1.Orders";

/// Ours, tonic-health's, and the most that ours may cost so many times theirs.
const LIMITS: &[(&str, &str, f64)] = &[
    ("check", "tonic_health", 1.06),
    ("check_mapped", "tonic_health_mapped", 1.06),
    ("routes", "tonic_health_routes", 1.06),
];

fn main() {
    let Some(variant) = variant() else {
        return measure_all();
    };
    let mut connection = connection(&variant);
    // What is made once is made outside the count.
    for _ in 0..10 {
        connection.serve_one();
    }
    for _ in 0..REQUESTS {
        measured(&mut connection);
    }
}

/// The only function that is counted, with all it calls.
#[inline(never)]
fn measured(connection: &mut Connection) {
    connection.serve_one();
}

fn measure_all() {
    for (ours, theirs, _) in LIMITS {
        for name in [ours, theirs] {
            let mut connection = connection(name);
            for _ in 0..3 {
                connection.serve_one();
                connection.check_answer(name);
            }
        }
    }
    if is_missing("grpc") {
        return;
    }
    println!("| variant | instructions | over | instructions | ratio | fails at |");
    println!("|---|---:|---|---:|---:|---:|");
    let mut failed = false;
    for (ours, theirs, most) in LIMITS {
        let (our, their) = (count(ours), count(theirs));
        let ratio = our as f64 / their as f64;
        failed |= ratio > *most;
        println!("| `{ours}` | {our} | `{theirs}` | {their} | {ratio:.4} | {most:.2} |");
    }
    assert!(!failed, "a `Check` costs more than its limit");
}

fn connection(variant: &str) -> Connection {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let health = runtime.block_on(health());
    let theirs = || {
        let (reporter, service) = health_reporter();
        runtime.block_on(reporter.set_service_status(SERVICE, ServingStatus::Serving));
        service
    };
    match variant {
        "check" => Connection::new(health.grpc_service(), ""),
        "check_mapped" => Connection::new(health.grpc_service(), SERVICE),
        "routes" => Connection::new(routes(health.grpc_service()), ""),
        "tonic_health" => Connection::new(theirs(), ""),
        "tonic_health_mapped" => Connection::new(theirs(), SERVICE),
        "tonic_health_routes" => Connection::new(routes(theirs()), ""),
        other => unreachable!("{other} is not a variant"),
    }
}

/// As a tonic server puts it behind its router.
fn routes<S>(service: S) -> axum::Router
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
        + NamedService
        + Clone
        + Send
        + Sync
        + 'static,
{
    Routes::new(service).into_axum_router()
}

/// Two dependencies whose results are cached for the whole measurement.
async fn health() -> Health {
    let hour = Duration::from_secs(3_600);
    let up = async || Ok(Outcome::up());
    let dependency = |name| Dependency::new(name, up).cache_for(hour).group("orders");
    let health = Health::builder()
        .add(dependency("database"))
        .add(dependency("cache"))
        .map_grpc_service(SERVICE, Probe::group("orders"))
        .build();
    let _ = health.report().await;
    health
}

/// What a client in memory sends.
#[derive(Clone, Default)]
struct ToServer(Rc<RefCell<VecDeque<u8>>>);

impl Read for ToServer {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut bytes = self.0.borrow_mut();
        if bytes.is_empty() {
            return Poll::Pending;
        }
        let length = bytes.len().min(buffer.remaining());
        buffer.put_slice(&bytes.make_contiguous()[..length]);
        bytes.drain(..length);
        Poll::Ready(Ok(()))
    }
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Keeps the tasks of a connection until they are polled.
#[derive(Clone, Default)]
struct Tasks(Rc<RefCell<Vec<Task>>>);

impl<F: Future<Output = ()> + 'static> Executor<F> for Tasks {
    fn execute(&self, future: F) {
        self.0.borrow_mut().push(Box::pin(future));
    }
}

/// A connection on which a client checks the same name over and over.
struct Connection {
    served: Task,
    tasks: Tasks,
    to_server: ToServer,
    received: Rc<RefCell<Vec<u8>>>,
    message: Vec<u8>,
    stream: u32,
}

impl Connection {
    fn new<S, B>(service: S, name: &str) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + 'static,
        B: http_body::Body + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (to_server, tasks) = (ToServer::default(), Tasks::default());
        let socket = Socket {
            client: to_server.clone(),
            received: Rc::default(),
            is_vectored: false,
        };
        let received = socket.received.clone();
        let builder = http2::Builder::new(tasks.clone());
        let served = builder.serve_connection(socket, Hyper::new(service));
        let length = u8::try_from(name.len()).expect("short");
        let field = match length {
            0 => vec![],
            length => [&[0x0a, length], name.as_bytes()].concat(),
        };
        let prefix = [0, 0, 0, 0, u8::try_from(field.len()).expect("short")];
        let mut connection = Self {
            served: Box::pin(async move {
                let _ = served.await;
            }),
            tasks,
            to_server,
            received,
            message: [&prefix[..], &field].concat(),
            stream: 1,
        };
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        connection.send(&[&preface[..], &frame(4, 0, 0, &[])].concat());
        connection.turn();
        connection.send(&frame(4, 1, 0, &[]));
        connection.turn();
        connection
    }

    fn send(&self, bytes: &[u8]) {
        self.to_server.0.borrow_mut().extend(bytes);
    }

    /// One call, from its first byte to the wait for the next one.
    fn serve_one(&mut self) {
        let head = frame(1, 0x4, self.stream, &fields(self.stream == 1));
        self.send(&head);
        self.send(&frame(0, 0x1, self.stream, &self.message));
        self.received.borrow_mut().clear();
        self.stream += 2;
        self.turn();
        assert!(!self.received.borrow().is_empty());
    }

    /// Lets the server do what it can.
    fn turn(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..2 {
            let ended = self.served.as_mut().poll(&mut cx).is_ready();
            assert!(!ended, "the client goes on");
            let mut tasks = self.tasks.0.borrow_mut();
            tasks.retain_mut(|task| task.as_mut().poll(&mut cx).is_pending());
        }
        assert!(self.tasks.0.borrow().is_empty(), "each call ends");
    }

    /// A comparison of answers that differ would be none.
    fn check_answer(&self, name: &str) {
        let received = self.received.borrow();
        let mut rest = &received[..];
        let mut frames = Vec::new();
        while let [a, b, c, kind, flags, _, _, _, _, tail @ ..] = rest {
            let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            frames.push((*kind, *flags & 1, &tail[..length]));
            rest = &tail[length..];
        }
        // Settings and windows aside: a head, a message and trailers.
        frames.retain(|(kind, ..)| *kind < 2);
        let kinds: Vec<_> = frames.iter().map(|(kind, end, _)| (*kind, *end)).collect();
        assert_eq!(kinds, [(1, 0), (0, 0), (1, 1)], "{name}");
        assert_eq!(frames[1].2, b"\0\0\0\0\x02\x08\x01", "{name}");
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The header fields of a call; after the first one all are in the table of the connection.
fn fields(first: bool) -> Vec<u8> {
    // `:method: POST`, `:scheme: http`.
    let mut fields = vec![0x83, 0x86];
    if !first {
        fields.extend([0xc2, 0xc1, 0xc0, 0xbf, 0xbe]);
        return fields;
    }
    let mut add = |name: &[u8], value: &str| {
        fields.extend(name);
        fields.push(u8::try_from(value.len()).expect("short"));
        fields.extend(value.as_bytes());
    };
    add(&[0x44], "/grpc.health.v1.Health/Check");
    add(&[0x41], "localhost:50051");
    add(&[0x40, 2, b't', b'e'], "trailers");
    add(&[0x5f], "application/grpc");
    add(&[0x7a], "grpc-go/1.76.0");
    fields
}

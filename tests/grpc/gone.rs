//! Callers that go away in the midst of a call.

use std::{
    net::{Shutdown, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
    thread,
    time::Duration,
};

use crate::helpers::frames::{CHECK, Chunks, EMPTY, GRPC, call, connect, request};
use crate::helpers::grpc::soon;
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::StreamBody;
use hyper::body::Frame;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, Handle},
    sync::{mpsc, oneshot, watch},
    time::sleep,
};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{body::Body, service::Routes, transport::Server};
use tower::util::MapRequestLayer;
use tower_health::{Health, HealthLayer};

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
                    .layer(HealthLayer::new(Health::builder().build()).grpc())
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

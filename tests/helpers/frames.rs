//! gRPC by hand, frame by frame: what no well-behaved client sends.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::{
    body::{Frame, Incoming},
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;

use crate::helpers::grpc::soon;

pub type Chunks = StreamBody<ReceiverStream<Result<Frame<Bytes>, std::io::Error>>>;

pub const CHECK: &str = "/grpc.health.v1.Health/Check";
/// A request for `""`, and the prefix of one that has 2 bytes.
pub const EMPTY: &[u8] = b"\0\0\0\0\0";
pub const GRPC: (&str, &str) = ("content-type", "application/grpc");

/// What came of a call.
#[derive(Debug)]
pub struct Outcomes {
    pub head: http::response::Parts,
    pub body: Bytes,
    pub trailers: Option<HeaderMap>,
}

impl Outcomes {
    /// The status, wherever it stands: in the head it is the only one.
    pub fn status(&self) -> Option<&str> {
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

pub async fn connect(stream: TcpStream) -> SendRequest<Chunks> {
    let io = TokioIo::new(stream);
    let (client, connection) = soon(http2::handshake(TokioExecutor::new(), io))
        .await
        .expect("shakes hands");
    tokio::spawn(connection);
    client
}

/// Sends `chunks` and, when they are all, ends the stream if it `ends`.
pub async fn call(
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

pub fn request(method: Method, path: &str, headers: &[(&str, &str)]) -> http::request::Builder {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("http://localhost{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request
}

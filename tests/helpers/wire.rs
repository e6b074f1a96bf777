//! HTTP over a socket: requests as raw bytes, which no client changes, and the clients of hyper.

use std::{fmt::Debug, future::Future, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

/// Far more than anything here takes.
const SOON: Duration = Duration::from_secs(30);

pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(SOON, future).await.expect("in time")
}

/// A complete response without its date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub code: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    pub async fn of<B>(response: Response<B>) -> Self
    where
        B: http_body::Body<Error: Debug>,
    {
        let (mut head, body) = response.into_parts();
        head.headers.remove("date");
        let body = body.collect().await.expect("a whole body").to_bytes();
        Self {
            code: head.status.as_u16(),
            headers: head.headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().map(|value| value.to_str().expect("text"));
        assert_eq!(values.next(), None, "{name} comes once");
        value
    }

    /// Whether the layer answered, and not the app.
    pub fn is_probe(&self) -> bool {
        self.header("cache-control") == Some("no-store")
    }
}

/// A connection that sends exactly these bytes.
pub struct Wire {
    read: BufReader<OwnedReadHalf>,
    /// A test that sends and receives at the same time takes it.
    pub write: Option<OwnedWriteHalf>,
}

impl Wire {
    pub async fn connect(address: SocketAddr) -> Self {
        let (read, write) = stream(address).await.into_split();
        Self {
            read: BufReader::new(read),
            write: Some(write),
        }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let write = self.write.as_mut().expect("is there");
        soon(write.write_all(bytes.as_ref())).await.expect("sends");
    }

    pub async fn answer(&mut self) -> Answer {
        self.try_answer(false).await.expect("an answer")
    }

    /// The next response, which has no body if `is_head`; `None` if the connection ends before it.
    pub async fn try_answer(&mut self, is_head: bool) -> Option<Answer> {
        let mut lines = Vec::new();
        while lines.last().is_none_or(|line: &String| !line.is_empty()) {
            let mut line = String::new();
            soon(self.read.read_line(&mut line)).await.ok()?;
            lines.push(line.strip_suffix("\r\n")?.to_owned());
        }
        let code = lines[0].split(' ').nth(1)?.parse().ok()?;
        let fields = lines[1..].iter().filter_map(|line| line.split_once(": "));
        let fields = fields.filter(|(name, _)| !name.eq_ignore_ascii_case("date"));
        let parsed = |(name, value): (&str, &str)| {
            let name: HeaderName = name.parse().expect("a name");
            (name, HeaderValue::from_str(value).expect("a value"))
        };
        let mut answer = Answer {
            code,
            headers: fields.map(parsed).collect(),
            body: String::new(),
        };
        if let Some(length) = answer.header("content-length").filter(|_| !is_head) {
            let mut body = vec![0; length.parse().ok()?];
            soon(self.read.read_exact(&mut body)).await.ok()?;
            answer.body = String::from_utf8_lossy(&body).into_owned();
        }
        Some(answer)
    }

    /// Requests `target` on this connection.
    pub async fn get(&mut self, target: &str) -> Answer {
        self.send(format!("GET {target} HTTP/1.1\r\nhost: localhost\r\n\r\n"))
            .await;
        self.answer().await
    }

    /// Whether the server ends the connection without another byte. A reset is an end: the server closed
    /// with bytes of ours unread.
    pub async fn ends(mut self) -> bool {
        let mut rest = Vec::new();
        let read = soon(self.read.read_to_end(&mut rest)).await;
        read.is_err() || rest.is_empty()
    }
}

/// Requests `target` on a new connection.
pub async fn get(address: SocketAddr, target: &str) -> Answer {
    Wire::connect(address).await.get(target).await
}

async fn stream(address: SocketAddr) -> TcpStream {
    soon(TcpStream::connect(address)).await.expect("connects")
}

pub async fn http1(address: SocketAddr) -> http1::SendRequest<Full<Bytes>> {
    let stream = TokioIo::new(stream(address).await);
    let (client, connection) = soon(http1::handshake(stream)).await.expect("shakes hands");
    tokio::spawn(connection);
    client
}

pub async fn http2(address: SocketAddr) -> http2::SendRequest<Full<Bytes>> {
    let stream = TokioIo::new(stream(address).await);
    let handshake = http2::handshake(TokioExecutor::new(), stream);
    let (client, connection) = soon(handshake).await.expect("shakes hands");
    tokio::spawn(connection);
    client
}

//! HTTP as raw bytes over a socket: no client changes a request or a response.

use std::{future::Future, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

/// Far more than anything here takes.
const SOON: Duration = Duration::from_secs(30);

pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(SOON, future).await.expect("in time")
}

/// A connection that sends exactly these bytes.
pub struct Wire {
    stream: BufReader<TcpStream>,
}

/// A response as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub version: String,
    pub code: u16,
    /// In the order received, without `date`.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(other, _)| other == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert_eq!(values.next(), None, "{name} comes once");
        value
    }
}

impl Wire {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = soon(TcpStream::connect(address)).await.expect("connects");
        Self {
            stream: BufReader::new(stream),
        }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        soon(self.stream.get_mut().write_all(bytes.as_ref()))
            .await
            .expect("sends");
    }

    /// The next response, its body as long as `content-length` says.
    pub async fn answer(&mut self) -> Answer {
        let mut answer = self.answer_to_head().await;
        let length = answer
            .header("content-length")
            .expect("a length")
            .parse::<usize>()
            .expect("a number");
        let mut body = vec![0; length];
        soon(self.stream.read_exact(&mut body)).await.expect("body");
        answer.body = String::from_utf8(body).expect("text");
        answer
    }

    /// The next response, which has no body whatever its head says.
    pub async fn answer_to_head(&mut self) -> Answer {
        let status = self.line().await;
        let mut words = status.split(' ');
        let version = words.next().expect("a version").to_owned();
        let code = words.next().expect("a code").parse().expect("a number");
        let mut headers = Vec::new();
        loop {
            let line = self.line().await;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(": ").expect("a header");
            if !name.eq_ignore_ascii_case("date") {
                headers.push((name.to_ascii_lowercase(), value.to_owned()));
            }
        }
        Answer {
            version,
            code,
            headers,
            body: String::new(),
        }
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        soon(self.stream.read_line(&mut line)).await.expect("reads");
        assert!(line.ends_with("\r\n"), "an incomplete line: {line:?}");
        line.trim_end_matches("\r\n").to_owned()
    }

    /// Requests `target` on this connection.
    pub async fn get(&mut self, target: &str) -> Answer {
        self.send(format!("GET {target} HTTP/1.1\r\nhost: localhost\r\n\r\n"))
            .await;
        self.answer().await
    }

    /// Whether the server ends the connection without another byte.
    pub async fn ends(mut self) -> bool {
        let mut rest = Vec::new();
        match soon(self.stream.read_to_end(&mut rest)).await {
            Ok(_) => rest.is_empty(),
            // Closed with our bytes unread: a reset.
            Err(_) => true,
        }
    }
}

/// Requests `target` on a new connection.
pub async fn get(address: SocketAddr, target: &str) -> Answer {
    Wire::connect(address).await.get(target).await
}

pub async fn http1(address: SocketAddr) -> http1::SendRequest<Full<Bytes>> {
    let stream = soon(TcpStream::connect(address)).await.expect("connects");
    let (client, connection) = soon(http1::handshake(TokioIo::new(stream)))
        .await
        .expect("shakes hands");
    tokio::spawn(connection);
    client
}

pub async fn http2(address: SocketAddr) -> http2::SendRequest<Full<Bytes>> {
    let stream = soon(TcpStream::connect(address)).await.expect("connects");
    let (client, connection) = soon(http2::handshake(TokioExecutor::new(), TokioIo::new(stream)))
        .await
        .expect("shakes hands");
    tokio::spawn(connection);
    client
}

//! Hostile requests as a table: what is sent, what must come back, what becomes of the connection.

mod bodies;
mod fields;
mod http2;
mod servers;
mod smuggling;
mod talk;
mod targets;
mod unauthorized;

pub use self::{
    http2::http2_faults,
    servers::{Served, ServedBy},
    talk::talk,
};

/// One hostile connection.
pub struct Row {
    pub name: &'static str,
    pub send: Vec<Part>,
    /// `probe 200; inner 404 head`: who answers, with which code, and whether no body may follow.
    /// `server` is hyper itself.
    pub answers: &'static str,
    pub end: End,
}

/// What is sent, in this order, whether or not anything was answered before.
#[derive(Clone)]
pub enum Part {
    Bytes(Vec<u8>),
    /// One byte a packet.
    Drip(Vec<u8>),
    /// Again and again until the server has had enough of it.
    Endless(Vec<u8>),
}

/// What becomes of the connection after the answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It serves the next request.
    Open,
    /// The server ends it.
    Closed,
    /// The server waits for the rest, and ends it when that can no longer come.
    Waits,
}

impl Row {
    fn new(name: &'static str, send: impl Into<Vec<u8>>, answers: &'static str, end: End) -> Self {
        Self {
            name,
            send: vec![Part::Bytes(send.into())],
            answers,
            end,
        }
    }

    fn then(mut self, part: Part) -> Self {
        self.send.push(part);
        self
    }
}

/// All rows that speak HTTP/1, or nothing at all.
pub fn http1() -> Vec<Row> {
    let mut rows = targets::rows();
    rows.extend(fields::rows());
    rows.extend(smuggling::rows());
    rows.extend(bodies::rows());
    rows.extend(unauthorized::rows());
    rows
}

/// `GET target` with nothing else wrong.
fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nhost: test\r\n\r\n").into_bytes()
}

/// A request for `/readyz` with `lines` in its head, each ended by itself.
fn with(lines: &str) -> Vec<u8> {
    format!("GET /readyz HTTP/1.1\r\nhost: test\r\n{lines}\r\n").into_bytes()
}

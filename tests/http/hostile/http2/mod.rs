//! HTTP/2 by hand: frames that no client would send.

mod frames;
mod rows;

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use self::{
    frames::{ACK, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, frame, status},
    rows::rows,
};
use super::{
    Served,
    talk::{alive, bounded},
};

/// One hostile connection: the frames after the preface, and what must come back in order, as in
/// `status 200; reset 1; goaway 6`. The numbers are RFC 9113's error codes.
struct Row {
    name: &'static str,
    frames: Vec<u8>,
    events: &'static str,
}

/// What went otherwise than the table says.
pub async fn http2_faults(served: &Served, up: bool) -> Vec<String> {
    let mut faults = Vec::new();
    for row in rows() {
        if let Err(fault) = talk(&row, served, up).await {
            faults.push(format!("h2 {}, up {up}: {fault:.500}", row.name));
        }
    }
    faults
}

async fn talk(row: &Row, served: &Served, up: bool) -> Result<(), String> {
    let (read, write) = connect(served.address).await.into_split();
    let mut bytes = [PREFACE, &frame(SETTINGS, 0, 0, b"")].concat();
    bytes.extend_from_slice(&row.frames);
    let sending = tokio::spawn(send(write, bytes));
    let expected = row
        .events
        .replace("probe", if up { "status 200" } else { "status 503" });
    let mut reader = Reader {
        read,
        // What comes in pieces may be served in part before the server has had enough.
        skip_served: expected.starts_with("goaway"),
    };
    let mut seen = Vec::new();
    let wanted = expected.split("; ").filter(|event| !event.is_empty());
    for _ in wanted {
        match bounded(reader.event()).await? {
            Some(event) => seen.push(event),
            None => break,
        }
    }
    if seen.join("; ") != expected {
        return Err(format!("expected {expected:?}, got {seen:?}"));
    }
    alive(served.address).await?;
    // After a goaway the server need not read on.
    let write = bounded(sending).await?.map_err(|error| error.to_string())?;
    if let Some(mut write) = write.filter(|_| !expected.starts_with("goaway")) {
        let _ = write.write_all(&frame(PING, 0, 0, b"the last")).await;
        match bounded(reader.event()).await?.as_deref() {
            Some("pong") => {}
            other => return Err(format!("the connection does not go on: {other:?}")),
        }
    }
    alive(served.address).await
}

async fn connect(address: SocketAddr) -> TcpStream {
    bounded(TcpStream::connect(address))
        .await
        .expect("in time")
        .expect("connects")
}

/// `None` when the server stopped reading.
async fn send(mut write: OwnedWriteHalf, bytes: Vec<u8>) -> Option<OwnedWriteHalf> {
    write.write_all(&bytes).await.ok()?;
    Some(write)
}

struct Reader {
    read: OwnedReadHalf,
    /// Whether answers in order are nothing to speak of.
    skip_served: bool,
}

impl Reader {
    /// The next thing that the table speaks of; `None` when the connection ends.
    async fn event(&mut self) -> Option<String> {
        loop {
            let mut head = [0; 9];
            self.fill(&mut head).await?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            self.fill(&mut payload).await?;
            let last = |payload: &[u8]| {
                payload
                    .last_chunk()
                    .map_or(0, |code| u32::from_be_bytes(*code))
            };
            return Some(match (head[3], head[4]) {
                (HEADERS, _) if self.skip_served && ["200", "503"].contains(&status(&payload)) => {
                    continue;
                }
                (HEADERS, _) => format!("status {}", status(&payload)),
                (RST_STREAM, _) => format!("reset {}", last(&payload)),
                (GOAWAY, _) => format!("goaway {}", last(&payload[..8])),
                (PING, ACK) if payload == b"the last" => "pong".to_owned(),
                _ => continue,
            });
        }
    }

    async fn fill(&mut self, buffer: &mut [u8]) -> Option<()> {
        match self.read.read_exact(buffer).await {
            Ok(_) => Some(()),
            Err(_) => None,
        }
    }
}

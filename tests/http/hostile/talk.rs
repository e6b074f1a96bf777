//! Has one hostile conversation and says what went otherwise than the row says.

use std::{
    fmt::Write as _, future::Future, io, net::SocketAddr, sync::atomic::Ordering, time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::timeout,
};

use super::{End, Part, Row, Served, get};
use crate::helpers::wire::{self, soon};

/// Far more than an answer takes: longer is a hang.
const HANG: Duration = Duration::from_secs(30);
/// A server that takes more of one request than this has no bound.
const ENOUGH: usize = 64 << 20;

/// Plays `row` against `served`; what is wrong with it, if anything.
///
/// `up`: a probe of readiness answers 200, else 503.
pub async fn talk(row: &Row, served: &Served, up: bool) -> Result<(), String> {
    let (mut read, write) = connect(served.address).await.into_split();
    let parts = row.send.iter().map(Part::clone).collect();
    let sending = tokio::spawn(send(write, parts));
    let mut received = Received::default();
    let mut seen = String::new();
    for expected in row.answers.split("; ").filter(|answer| !answer.is_empty()) {
        let bodiless = expected.ends_with(" head");
        let Some(answer) = bounded(received.answer(&mut read, bodiless)).await? else {
            break;
        };
        let separator = if seen.is_empty() { "" } else { "; " };
        let mark = if bodiless { " head" } else { "" };
        let _ = write!(seen, "{separator}{answer}{mark}");
    }
    let expected = match up {
        true => row.answers.to_owned(),
        false => row.answers.replace("probe 200", "probe 503"),
    };
    if seen != expected {
        return Err(format!(
            "expected {expected:?}, got {seen:?}, then {:.300?}",
            String::from_utf8_lossy(&received.bytes)
        ));
    }
    alive(served.address).await?;
    // The server may have stopped reading: then the sender ends by an error.
    let write = bounded(sending).await?.map_err(|error| error.to_string())?;
    end(row.end, write, read, received).await?;
    alive(served.address).await?;
    match served.smuggled.swap(false, Ordering::SeqCst) {
        true => Err("a request was smuggled to the app".to_owned()),
        false => Ok(()),
    }
}

pub(super) async fn bounded<T>(future: impl Future<Output = T>) -> Result<T, String> {
    timeout(HANG, future)
        .await
        .map_err(|_| "it hangs".to_owned())
}

async fn connect(address: SocketAddr) -> TcpStream {
    let stream = soon(TcpStream::connect(address)).await.expect("connects");
    stream.set_nodelay(true).expect("a socket");
    stream
}

/// App and probe answer on connections of their own.
pub(super) async fn alive(address: SocketAddr) -> Result<(), String> {
    let index = wire::get(address, "/").await;
    let probe = wire::get(address, "/livez").await;
    match (index.code, &*index.body, probe.code) {
        (200, "index", 200) => Ok(()),
        _ => Err(format!("the app is not well: {index:?} {probe:?}")),
    }
}

/// `None` when the server stopped reading.
async fn send(mut write: OwnedWriteHalf, parts: Vec<Part>) -> Option<OwnedWriteHalf> {
    for part in parts {
        match part {
            Part::Bytes(bytes) => write.write_all(&bytes).await.ok()?,
            Part::Drip(bytes) => {
                for byte in bytes {
                    write.write_all(&[byte]).await.ok()?;
                    tokio::task::yield_now().await;
                }
            }
            Part::Endless(bytes) => {
                for _ in 0..ENOUGH / bytes.len() {
                    write.write_all(&bytes).await.ok()?;
                }
                panic!("the server took {ENOUGH} bytes of one request");
            }
        }
    }
    Some(write)
}

async fn end(
    end: End,
    write: Option<OwnedWriteHalf>,
    mut read: OwnedReadHalf,
    mut received: Received,
) -> Result<(), String> {
    match end {
        End::Open => {
            let Some(mut write) = write else {
                return Err("the server closed the connection".to_owned());
            };
            let _ = write.write_all(&get("/livez")).await;
            match bounded(received.answer(&mut read, false)).await?.as_deref() {
                Some("probe 200") => Ok(()),
                other => Err(format!("the connection does not go on: {other:?}")),
            }
        }
        End::Closed | End::Waits => {
            if end == End::Waits {
                if !received.is_quiet(&read) {
                    let rest = String::from_utf8_lossy(&received.bytes);
                    return Err(format!("it does not wait: {rest:?}"));
                }
                // No more will come; the server must not keep the place for ever.
                drop(write);
            }
            let rest = bounded(received.rest(&mut read)).await?;
            // A last word about a request cut short is fine, an answer from the app is not.
            match rest.is_empty() || end == End::Waits && rest.starts_with("HTTP/1.1 400 ") {
                true => Ok(()),
                false => Err(format!("more came before the end: {rest:.300?}")),
            }
        }
    }
}

/// What came and was not looked at yet.
#[derive(Default)]
struct Received {
    bytes: Vec<u8>,
}

impl Received {
    /// The next answer as `probe 200`; `None` when the connection ends before one.
    async fn answer(&mut self, read: &mut OwnedReadHalf, bodiless: bool) -> Option<String> {
        let end = loop {
            if let Some(at) = find(&self.bytes, b"\r\n\r\n") {
                break at + 4;
            }
            self.more(read).await?;
        };
        let head = String::from_utf8_lossy(&self.bytes[..end]).to_ascii_lowercase();
        let code: u16 = head.split(' ').nth(1)?.parse().ok()?;
        let header = |name: &str| {
            head.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        let length = match header("content-length") {
            Some(length) if !bodiless && code >= 200 => length.parse().ok()?,
            _ => 0,
        };
        let who = match (header("x-inner"), header("cache-control")) {
            (Some(_), _) => "inner",
            (None, Some("no-store")) => "probe",
            (None, _) => "server",
        };
        while self.bytes.len() < end + length {
            self.more(read).await?;
        }
        self.bytes.drain(..end + length);
        Some(format!("{who} {code}"))
    }

    /// All that comes before the connection ends.
    async fn rest(&mut self, read: &mut OwnedReadHalf) -> String {
        while self.more(read).await.is_some() {}
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// Whether nothing is left and nothing has come.
    fn is_quiet(&self, read: &OwnedReadHalf) -> bool {
        let mut byte = [0];
        let nothing = matches!(read.try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        self.bytes.is_empty() && nothing
    }

    async fn more(&mut self, read: &mut OwnedReadHalf) -> Option<()> {
        let mut chunk = [0; 8192];
        // A reset is an end: the server closed with bytes of ours unread.
        let count = read.read(&mut chunk).await.unwrap_or(0);
        self.bytes.extend_from_slice(&chunk[..count]);
        (count > 0).then_some(())
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

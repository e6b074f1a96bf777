//! Port numbers that stay ours while a server is down.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Mutex;
use std::time::Duration;

// Below the ephemeral ranges of Linux (32768-60999) and macOS (49152-65535). A server that is down
// must leave its port closed: inside the range an outgoing connection may take the number, and a
// reconnecting client may even connect to itself.
const FIRST: u16 = 20_000;
const SPAN: u64 = 12_000;

/// Each keeps its number from other callers, in this process and others. All servers listen on TCP.
static TAKEN: Mutex<VecDeque<UdpSocket>> = Mutex::new(VecDeque::new());

/// A port on 127.0.0.1 without a listener, which no other caller gets.
pub fn unused_port() -> u16 {
    loop {
        let port = FIRST + (RandomState::new().hash_one(0) % SPAN) as u16;
        if let Ok(lock) = UdpSocket::bind((Ipv4Addr::LOCALHOST, port))
            && is_closed(port)
        {
            let mut taken = TAKEN.lock().unwrap();
            taken.push_back(lock);
            // A long bench must not run out of files.
            if taken.len() > 256 {
                taken.pop_front();
            }
            return port;
        }
    }
}

/// Whether no process listens. A connect, because a program that another thread starts at this moment
/// would inherit a listener, and hold the port until it is executed.
pub(super) fn is_closed(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    // Refusals come at once; a port that takes this long has a listener.
    let called = TcpStream::connect_timeout(&address, Duration::from_secs(1));
    called.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

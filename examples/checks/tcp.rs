//! A TCP port: up if a connect succeeds.

use tokio::net::TcpStream;
use tower_health::{Check, Outcome};

/// Connects to `address`, a host and port. This proves that a program listens, not that the service works.
pub(crate) fn tcp(address: String) -> impl Check {
    move || {
        let address = address.clone();
        async move {
            // `?` turns the error into `refused`, `unreachable`, `dns`.
            TcpStream::connect(address).await?;
            Ok(Outcome::up())
        }
    }
}

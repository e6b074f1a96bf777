//! An app behind the layer, on a real socket, for the browser.

use std::net::SocketAddr;

use axum::Router;
use tokio::{net::TcpListener, task::AbortHandle};
use tower_health::{Access, Health, HealthLayer};

/// A server that ends with this value.
pub struct Site {
    address: SocketAddr,
    server: AbortHandle,
}

impl Site {
    /// Shows every caller the details.
    pub async fn open(health: &Health) -> Self {
        Self::of(pages(health).details(Access::everybody())).await
    }

    /// Shows every caller the status.
    pub async fn closed(health: &Health) -> Self {
        Self::of(pages(health)).await
    }

    pub async fn of(layer: HealthLayer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("bound");
        let server = tokio::spawn(async move {
            axum::serve(listener, Router::new().layer(layer))
                .await
                .expect("serves");
        });
        Self {
            address,
            server: server.abort_handle(),
        }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

fn pages(health: &Health) -> HealthLayer {
    let layer = HealthLayer::new(health.clone());
    #[cfg(feature = "html")]
    let layer = layer
        .page("/health")
        .page("/readyz")
        .page("/livez")
        .page("/startupz");
    layer
}

impl Drop for Site {
    fn drop(&mut self) {
        self.server.abort();
    }
}

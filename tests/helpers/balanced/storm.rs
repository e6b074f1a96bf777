//! Probers that send the next request as soon as the last is answered.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{Instant, timeout},
};

use super::LIMIT;

/// Probers of one instance, each on a connection that it keeps while the server lets it.
#[derive(Debug)]
pub struct Storm {
    probers: JoinSet<Fate>,
    answered: Arc<AtomicUsize>,
}

/// How it ended for one prober.
#[derive(Clone, Copy, Debug)]
pub struct Fate {
    /// When it first got no answer, because the server had closed.
    pub turned_away: Instant,
    /// Probes that were neither answered nor refused, be it a connection that was not made.
    pub hung: usize,
}

impl Storm {
    /// Half of the probers ask for liveness, the others for readiness.
    pub fn start(address: SocketAddr, probers: usize) -> Self {
        let answered = Arc::new(AtomicUsize::new(0));
        let paths = ["/livez", "/readyz"].into_iter().cycle().take(probers);
        let probers = paths.map(|path| probe(address, path, answered.clone()));
        Self {
            probers: probers.collect(),
            answered,
        }
    }

    pub fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// Waits until the server no longer listens.
    pub async fn end(self) -> Vec<Fate> {
        self.probers.join_all().await
    }
}

async fn probe(address: SocketAddr, path: &'static str, answered: Arc<AtomicUsize>) -> Fate {
    let mut turned_away = None;
    let mut hung = 0;
    loop {
        let connected = timeout(LIMIT, TcpStream::connect(address)).await;
        hung += usize::from(connected.is_err());
        let Ok(Ok(stream)) = connected else {
            let turned_away = turned_away.unwrap_or_else(Instant::now);
            return Fate { turned_away, hung };
        };
        let Ok((client, connection)) = handshake(TokioIo::new(stream)).await else {
            continue;
        };
        tokio::spawn(connection);
        let ended = timeout(LIMIT, ask_on(client, path, &answered)).await;
        hung += usize::from(ended.is_err());
        turned_away.get_or_insert_with(Instant::now);
    }
}

/// Asks until the connection is closed.
async fn ask_on(
    mut client: SendRequest<Full<Bytes>>,
    path: &str,
    answered: &AtomicUsize,
) -> hyper::Result<()> {
    loop {
        client.ready().await?;
        let request = Request::get(path).header("host", "test");
        let request = request.body(Full::default()).expect("valid");
        let response = client.send_request(request).await?;
        let code = response.status().as_u16();
        assert!([200, 503].contains(&code), "{path}: {code}");
        response.into_body().collect().await?;
        answered.fetch_add(1, Ordering::Relaxed);
    }
}

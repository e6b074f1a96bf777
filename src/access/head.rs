use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use http::{Extensions, HeaderMap, Method, Request, Uri, header};
use ipnet::IpNet;

use super::{forwarded, network::contains};

/// The address that a connection came from, as a request extension.
///
/// For servers that note none themselves, such as plain hyper: insert it into each request.
///
/// ```
/// use std::net::SocketAddr;
/// use tower_health::PeerAddr;
///
/// fn noted<B>(mut request: http::Request<B>, peer: SocketAddr) -> http::Request<B> {
///     request.extensions_mut().insert(PeerAddr(peer));
///     request
/// }
/// # let request = noted(http::Request::new(()), ([127, 0, 0, 1], 1).into());
/// # assert!(request.extensions().get::<PeerAddr>().is_some());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerAddr(pub SocketAddr);

/// The head of a request: all that decides who may see what.
#[derive(Clone, Copy)]
pub struct RequestHead<'a> {
    method: &'a Method,
    uri: &'a Uri,
    headers: &'a HeaderMap,
    extensions: &'a Extensions,
    /// Whose word on others counts.
    proxies: &'a [IpNet],
}

impl<'a> RequestHead<'a> {
    pub(crate) fn of<B>(request: &'a Request<B>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            extensions: request.extensions(),
            proxies: &[],
        }
    }

    /// The same where the word of `proxies` counts.
    pub(super) fn behind<'b>(&self, proxies: &'b [IpNet]) -> RequestHead<'b>
    where
        'a: 'b,
    {
        RequestHead { proxies, ..*self }
    }

    /// The method.
    pub fn method(&self) -> &'a Method {
        self.method
    }

    /// The URI.
    pub fn uri(&self) -> &'a Uri {
        self.uri
    }

    /// The headers.
    pub fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// The extensions.
    pub fn extensions(&self) -> &'a Extensions {
        self.extensions
    }

    /// The peer's address, where the server noted one; never an IPv4-mapped one.
    pub fn peer_ip(&self) -> Option<IpAddr> {
        self.peer().map(|peer| peer.ip().to_canonical())
    }

    /// The address of whoever asks: the one that a trusted proxy speaks for, or else the peer's.
    ///
    /// It differs from [`peer_ip`](Self::peer_ip) under
    /// [`Access::trusted_proxies`](super::Access::trusted_proxies) alone.
    pub fn client_ip(&self) -> Option<IpAddr> {
        let peer = self.peer_ip()?;
        if contains(self.proxies, peer) {
            forwarded::client(self.headers, peer, self.proxies)
        } else {
            Some(peer)
        }
    }

    /// The peer's address, where the server noted one.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        if let Some(PeerAddr(peer)) = self.extensions.get() {
            return Some(*peer);
        }
        #[cfg(feature = "axum")]
        if let Some(axum::extract::ConnectInfo(peer)) = self.extensions.get() {
            return Some(*peer);
        }
        #[cfg(feature = "tonic")]
        if let Some(info) = self
            .extensions
            .get::<tonic::transport::server::TcpConnectInfo>()
        {
            return info.remote_addr();
        }
        None
    }

    /// Whether some proxy says that it speaks for another.
    pub(super) fn is_forwarded(&self) -> bool {
        self.headers.contains_key(header::FORWARDED)
            || self.headers.contains_key(header::VIA)
            || self.headers.keys().any(|name| {
                // Some proxies add `x-forwarded-proto`, and say nothing of the client.
                let name = name.as_str();
                name == "x-real-ip" || name.starts_with("x-forwarded-")
            })
    }
}

/// Who asks for what: a header may hold a token, and so may a query.
impl fmt::Debug for RequestHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead")
            .field("method", self.method)
            .field("path", &self.uri.path())
            .field("peer", &self.peer_ip())
            .finish_non_exhaustive()
    }
}

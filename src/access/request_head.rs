use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
};

use http::{Extensions, HeaderMap, Method, Request, Uri, header, uri::Authority};
use ipnet::IpNet;

use super::{
    forwarded::{self, Forwarded},
    network::contains,
};

/// The peer address of a connection, as a request extension.
///
/// Servers such as plain hyper do not record the peer address: insert it into each request.
///
/// ```
/// use std::net::SocketAddr;
/// use tower_health::PeerAddr;
///
/// fn with_peer<B>(mut request: http::Request<B>, peer: SocketAddr) -> http::Request<B> {
///     request.extensions_mut().insert(PeerAddr(peer));
///     request
/// }
/// # let request = with_peer(http::Request::new(()), ([127, 0, 0, 1], 1).into());
/// # assert!(request.extensions().get::<PeerAddr>().is_some());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerAddr(pub SocketAddr);

/// The head of a request: the input of every access decision.
#[derive(Clone, Copy)]
pub struct RequestHead<'a> {
    method: &'a Method,
    uri: &'a Uri,
    headers: &'a HeaderMap,
    extensions: &'a Extensions,
    missing_peer: &'a MissingPeer,
    /// Proxies whose forwarding headers count.
    proxies: &'a [IpNet],
    /// Whether the decision is about details, where a forwarded request never counts as its peer.
    for_details: bool,
}

impl<'a> RequestHead<'a> {
    pub(crate) fn of<B>(request: &'a Request<B>, missing_peer: &'a MissingPeer) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            extensions: request.extensions(),
            missing_peer,
            proxies: &[],
            for_details: false,
        }
    }

    pub(super) fn for_details(self) -> Self {
        Self {
            for_details: true,
            ..self
        }
    }

    pub(super) fn with_proxies<'b>(&self, proxies: &'b [IpNet]) -> RequestHead<'b>
    where
        'a: 'b,
    {
        RequestHead { proxies, ..*self }
    }

    /// Returns the method.
    pub fn method(&self) -> &'a Method {
        self.method
    }

    /// Returns the URI.
    pub fn uri(&self) -> &'a Uri {
        self.uri
    }

    /// Returns the headers.
    pub fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// Returns the extensions.
    pub fn extensions(&self) -> &'a Extensions {
        self.extensions
    }

    /// Returns the peer address, if the server recorded it. An IPv4-mapped address becomes IPv4.
    pub fn peer_ip(&self) -> Option<IpAddr> {
        self.recorded_peer().map(|peer| peer.ip().to_canonical())
    }

    /// Returns the client address: the address that a trusted proxy names, otherwise the peer address.
    ///
    /// It differs from [`peer_ip`](Self::peer_ip) with
    /// [`Access::trusted_proxies`](super::Access::trusted_proxies). In a decision on details it is `None` for a
    /// forwarded request of any other peer.
    pub fn client_ip(&self) -> Option<IpAddr> {
        let peer = self.peer_ip()?;
        match self.client_of_proxy() {
            Some(Forwarded::Client(client)) => Some(client),
            Some(Forwarded::Unreadable) => None,
            _ if self.for_details && self.is_forwarded() => None,
            _ => Some(peer),
        }
    }

    /// Returns whether the request comes from this host and was not forwarded for another host.
    pub(super) fn is_local(&self) -> bool {
        let is_loopback = self.peer_ip().is_some_and(|peer| peer.is_loopback());
        is_loopback
            && match self.for_details {
                true => !self.is_forwarded() && self.has_local_hosts(),
                false => !self.is_forwarded() || self.client_of_proxy() == Some(Forwarded::Absent),
            }
    }

    pub(super) fn note_missing_peer(&self) {
        if self.recorded_peer().is_none() {
            self.missing_peer.note();
        }
    }

    /// Returns the client that the peer names; `None` if the peer is not a trusted proxy.
    fn client_of_proxy(&self) -> Option<Forwarded> {
        contains(self.proxies, self.peer_ip()?).then(|| forwarded::read(self.headers, self.proxies))
    }

    fn is_forwarded(&self) -> bool {
        self.headers.contains_key(header::FORWARDED)
            || self.headers.contains_key(header::VIA)
            || self.headers.keys().any(|name| {
                // Some proxies add only `x-forwarded-proto`.
                let name = name.as_str();
                name == "x-real-ip" || name.starts_with("x-forwarded-")
            })
    }

    /// Returns whether every host that the request names is local.
    ///
    /// After DNS rebinding, a browser sends the host name of the other site.
    fn has_local_hosts(&self) -> bool {
        let mut hosts = self.headers.get_all(header::HOST).iter();
        hosts
            .all(|host| Authority::try_from(host.as_bytes()).is_ok_and(|host| is_local_host(&host)))
            && self.uri.authority().is_none_or(is_local_host)
    }

    pub(crate) fn recorded_peer(&self) -> Option<SocketAddr> {
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
}

/// Returns whether the host is an IP literal, `localhost` or `*.localhost`.
fn is_local_host(authority: &Authority) -> bool {
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host();
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let is_literal = bare.unwrap_or(host).parse::<IpAddr>().is_ok();
    let last_label = host.rsplit('.').next();
    is_literal || last_label.is_some_and(|label| label.eq_ignore_ascii_case("localhost"))
}

/// Prints no headers and no query, because they may contain tokens.
impl fmt::Debug for RequestHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead")
            .field("method", self.method)
            .field("path", &self.uri.path())
            .field("peer", &self.peer_ip())
            .finish_non_exhaustive()
    }
}

/// Records that a rule on addresses denied a request without a peer address. Logs one warning.
#[derive(Debug, Default)]
pub(crate) struct MissingPeer(AtomicBool);

impl MissingPeer {
    /// The cause and the remedy, on one line.
    pub(crate) const TEXT: &'static str = "a request has no peer address, so `Access::loopback` and \
        `Access::networks` deny it: serve with `into_make_service_with_connect_info::<SocketAddr>()` and \
        the feature `axum`, or insert `PeerAddr` into each request; on a Unix socket use \
        `Access::bearer` or `Access::predicate`";

    pub(crate) fn is_noted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn note(&self) {
        // The load comes first: a store on each request would move the cache line between threads.
        if !self.is_noted() && !self.0.swap(true, Ordering::Relaxed) {
            #[cfg(feature = "tracing")]
            tracing::warn!(target: "tower_health", "{}", Self::TEXT);
        }
    }
}

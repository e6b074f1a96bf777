//! Access rules: which callers may probe, and which may see details. [`Access`] reads the [`RequestHead`].
//!
//! Rules on addresses, in evaluation order:
//!
//! 1. The peer address is that of the connection, as the server recorded it: a [`PeerAddr`] extension,
//!    axum's `ConnectInfo<SocketAddr>` (feature `axum`) or tonic's `TcpConnectInfo` (feature `tonic`).
//!    Without one, access is denied, with one warning. Unix sockets have no address: use a token or a
//!    predicate.
//! 2. An IPv4-mapped IPv6 address counts as the IPv4 address.
//! 3. A request is forwarded if it carries `forwarded`, `via`, `x-real-ip` or any `x-forwarded-*`.
//!    Only [`Access::trusted_proxies`] make its client address count.
//! 4. For details, a forwarded request never counts as its peer. Its client address counts if the peer is
//!    a trusted proxy and all of `forwarded`, `x-forwarded-for` and `x-real-ip` that are present name it.
//! 5. For details, [`Access::loopback`] also requires a local host name, against DNS rebinding: `Host`,
//!    `:authority` and the host of an absolute URI must be an IP literal, `localhost` or `*.localhost`.
//! 6. For probing, a trusted proxy that names no client counts as itself, and the host name does not matter.
//!
//! Three pitfalls of deployment:
//!
//! * `axum::serve(listener, app)` records no peer address. Serve
//!   `app.into_make_service_with_connect_info::<SocketAddr>()`.
//! * Behind a proxy on this host that adds no forwarding header (nginx' plain `proxy_pass`, a TCP
//!   forwarder), every caller that sends a local host name is a loopback caller. Use [`Access::bearer`] or
//!   a separate port in this case.
//! * A trusted proxy must overwrite or remove each of `forwarded`, `x-forwarded-for` and `x-real-ip` that
//!   it does not append to. A forged header contradicts the header of the proxy, and access is denied.

// Each file imports only from those above it.
mod bearer;
mod network;

mod forwarded;

mod request_head;

mod rule;

#[cfg(test)]
mod tests;

pub(crate) use self::request_head::MissingPeer;
pub use self::{
    network::InvalidNetwork,
    request_head::{PeerAddr, RequestHead},
    rule::{Access, Detail},
};

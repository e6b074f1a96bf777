//! Who asks, and who may: [`Access`] decides over the [`RequestHead`] of a request.
//!
//! Rules, in evaluation order:
//!
//! 1. The peer is the address that the connection came from, as the server noted
//!    it: a [`PeerAddr`] extension, axum's `ConnectInfo<SocketAddr>` (feature
//!    `axum`) or tonic's `TcpConnectInfo` (feature `tonic`). None noted: not allowed.
//! 2. An IPv4-mapped IPv6 address counts as the IPv4 address.
//! 3. A loopback peer is local unless the request carries `forwarded`, `via`,
//!    `x-real-ip` or any `x-forwarded-…`: then a proxy on this host speaks for a
//!    stranger. One that adds none of them looks like this host itself.
//! 4. What a proxy says of its client counts from proxies named as trusted, and from
//!    no others: [`Access::trusted_proxies`].
//!
//! Two traps of deployment:
//!
//! * `axum::serve(listener, app)` notes no peer. Serve
//!   `app.into_make_service_with_connect_info::<SocketAddr>()`.
//! * A proxy on this host that adds no forwarding header (nginx' plain `proxy_pass`, a
//!   TCP forwarder, a port forwarded by ssh) makes everybody local. Behind one, name
//!   [`Access::bearer`] or a port of its own, and not [`Access::loopback`].

mod bearer;
mod forwarded;
mod head;
mod network;
mod rule;
#[cfg(test)]
mod tests;

pub use self::{
    head::{PeerAddr, RequestHead},
    network::InvalidNetwork,
    rule::Access,
};

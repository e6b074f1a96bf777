use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use ipnet::IpNet;

use super::{
    InvalidNetwork, RequestHead,
    bearer::Tokens,
    network::{contains, parse_networks},
};

/// Who may probe, or who may see details.
///
/// ```
/// use tower_health::{Access, Health, HealthLayer};
///
/// # fn main() -> Result<(), tower_health::InvalidNetwork> {
/// let token = "from the environment, or a file that is mounted".replace(' ', "-");
/// let operators = Access::loopback()
///     .or(Access::networks(["10.0.0.0/8", "2001:db8::7"])?)
///     .or(Access::bearer([token]));
/// let layer = HealthLayer::new(Health::builder().build()).details(operators);
/// # drop(layer);
/// # Ok(())
/// # }
/// ```
///
/// The peer is the address that the connection came from, as the server noted it: a
/// [`PeerAddr`](crate::PeerAddr) extension, axum's `ConnectInfo<SocketAddr>` (feature `axum`) or
/// tonic's `TcpConnectInfo` (feature `tonic`). Where none is noted, rules over addresses allow
/// nobody. `axum::serve(listener, app)` notes none: serve
/// `app.into_make_service_with_connect_info::<SocketAddr>()`.
#[derive(Clone)]
pub struct Access {
    rule: Rule,
}

#[derive(Clone)]
enum Rule {
    Nobody,
    Everybody,
    Loopback,
    Networks(Arc<[IpNet]>),
    Bearer(Tokens),
    Closure(Arc<dyn Fn(&RequestHead<'_>) -> bool + Send + Sync>),
    Either(Arc<(Access, Access)>),
    Behind(Arc<(Access, Arc<[IpNet]>)>),
}

impl Access {
    /// Nobody.
    pub const fn nobody() -> Self {
        Self { rule: Rule::Nobody }
    }

    /// Everybody who can send a request.
    pub const fn everybody() -> Self {
        Self {
            rule: Rule::Everybody,
        }
    }

    /// Peers on this host, unless a proxy on this host says that it speaks for another: by `forwarded`,
    /// `via`, `x-real-ip` or any `x-forwarded-…` header.
    ///
    /// A proxy on this host that adds none of them (nginx' plain `proxy_pass`, a TCP forwarder) makes
    /// everybody local. Behind one, name [`bearer`](Self::bearer) instead.
    pub const fn loopback() -> Self {
        Self {
            rule: Rule::Loopback,
        }
    }

    /// Peers in one of `networks`, each an address or a CIDR such as `10.0.0.0/8`.
    ///
    /// A proxy in one of them passes its clients on as itself: with a proxy in between
    /// name it with [`trusted_proxies`](Self::trusted_proxies).
    ///
    /// # Errors
    ///
    /// Names the first entry that is neither, or whose host bits are not zero.
    pub fn networks<N: AsRef<str>>(
        networks: impl IntoIterator<Item = N>,
    ) -> Result<Self, InvalidNetwork> {
        Ok(Self {
            rule: Rule::Networks(parse_networks(networks)?),
        })
    }

    /// Whoever sends `authorization: Bearer` with one of `tokens`, compared in a time that tells
    /// nothing of them but their lengths.
    ///
    /// Several tokens allow rotation: add the new one, move the askers, drop the old one.
    ///
    /// # Panics
    ///
    /// On an empty token, which an unset variable would make everybody's, and on one with a space, a
    /// line end or another character that no token has. It names the token's place, never the token.
    #[track_caller]
    pub fn bearer<T: Into<String>>(tokens: impl IntoIterator<Item = T>) -> Self {
        match Tokens::new(tokens) {
            Ok(tokens) => Self {
                rule: Rule::Bearer(tokens),
            },
            Err((place, fault)) => panic!("bearer token number {place} {fault}"),
        }
    }

    /// Whoever `allows` says yes to. It runs on every probe: keep it fast. A panic in it is a no.
    pub fn predicate(allows: impl Fn(&RequestHead<'_>) -> bool + Send + Sync + 'static) -> Self {
        Self {
            rule: Rule::Closure(Arc::new(allows)),
        }
    }

    /// Whoever this or `other` allows.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            rule: Rule::Either(Arc::new((self, other))),
        }
    }

    /// Behind `proxies` it is whom they speak for that counts, and not the proxy.
    ///
    /// What comes from another peer than one of `proxies`, each an address or a CIDR,
    /// counts as from that peer, whatever it says of others. From one of them, its
    /// `x-forwarded-for` or `forwarded` is read from the right, past the proxies, to the
    /// first address that is none: everything left of that is what a stranger may have
    /// written. With neither header the proxy asks for itself, as balancers do for their
    /// own probes. Not allowed is whoever cannot be made out: unreadable or hidden
    /// addresses, malformed or very long headers (over 4,096 bytes), the two headers
    /// naming different addresses.
    ///
    /// Called again, or around a rule that has proxies already, it adds to them.
    ///
    /// It changes what [`networks`](Self::networks) and [`RequestHead::client`] see.
    /// [`loopback`](Self::loopback) stays with whoever speaks for itself.
    ///
    /// ```
    /// # fn main() -> Result<(), tower_health::InvalidNetwork> {
    /// use tower_health::Access;
    ///
    /// let operators = Access::networks(["203.0.113.0/24"])?.trusted_proxies(["10.0.0.7", "10.0.0.8"])?;
    /// # drop(operators);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`networks`](Self::networks).
    pub fn trusted_proxies<N: AsRef<str>>(
        self,
        proxies: impl IntoIterator<Item = N>,
    ) -> Result<Self, InvalidNetwork> {
        let proxies = parse_networks(proxies)?;
        let inner = self.trusting(&proxies);
        Ok(match inner.rule {
            Rule::Behind(_) => inner,
            _ => Self {
                rule: Rule::Behind(Arc::new((inner, proxies))),
            },
        })
    }

    /// With `more` in each list of proxies that there is: of two, one inside the other, the inner counts.
    fn trusting(self, more: &[IpNet]) -> Self {
        let rule = match self.rule {
            Rule::Behind(behind) => {
                let (inner, known) = &*behind;
                let inner = inner.clone().trusting(more);
                Rule::Behind(Arc::new((inner, [known, more].concat().into())))
            }
            Rule::Either(both) => {
                let (one, other) = (*both).clone();
                Rule::Either(Arc::new((one.trusting(more), other.trusting(more))))
            }
            rule => rule,
        };
        Self { rule }
    }

    #[inline]
    pub(crate) fn allows(&self, head: &RequestHead<'_>) -> bool {
        match &self.rule {
            Rule::Nobody => false,
            Rule::Everybody => true,
            rule => rule.allows(head),
        }
    }
}

impl Rule {
    fn allows(&self, head: &RequestHead<'_>) -> bool {
        match self {
            Self::Nobody => false,
            Self::Everybody => true,
            Self::Loopback => {
                head.peer_ip().is_some_and(|peer| peer.is_loopback()) && !head.is_forwarded()
            }
            Self::Networks(networks) => head
                .client_ip()
                .is_some_and(|client| contains(networks, client)),
            Self::Bearer(tokens) => tokens.open_to(head),
            // The head is read only: nothing is left half done.
            Self::Closure(allows) => {
                catch_unwind(AssertUnwindSafe(|| allows(head))).unwrap_or(false)
            }
            Self::Either(both) => both.0.allows(head) || both.1.allows(head),
            Self::Behind(behind) => behind.0.allows(&head.behind(&behind.1)),
        }
    }
}

/// Never a token.
impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rule {
            Rule::Nobody => f.write_str("Nobody"),
            Rule::Everybody => f.write_str("Everybody"),
            Rule::Loopback => f.write_str("Loopback"),
            Rule::Networks(networks) => f.debug_tuple("Networks").field(networks).finish(),
            Rule::Bearer(_) => f.write_str("Bearer(..)"),
            Rule::Closure(_) => f.write_str("Closure(..)"),
            Rule::Either(both) => f
                .debug_tuple("Either")
                .field(&both.0)
                .field(&both.1)
                .finish(),
            Rule::Behind(behind) => f
                .debug_tuple("Behind")
                .field(&behind.0)
                .field(&behind.1)
                .finish(),
        }
    }
}

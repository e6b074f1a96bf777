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

/// Decides which callers may probe, or which may see details.
///
/// ```
/// use tower_health::{Access, Health, HealthLayer};
///
/// # fn main() -> Result<(), tower_health::access::InvalidNetwork> {
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
/// Rules on addresses need the peer address, as the server recorded it: a
/// [`PeerAddr`](crate::PeerAddr) extension, axum's `ConnectInfo<SocketAddr>` (feature `axum`) or
/// tonic's `TcpConnectInfo` (feature `tonic`). Without a peer address they deny access, with one warning in the
/// log and in [`Health::warnings`](crate::Health::warnings).
///
/// `axum::serve(listener, app)` records no peer address: serve
/// `app.into_make_service_with_connect_info::<SocketAddr>()`. Unix sockets have no address: use
/// [`bearer`](Self::bearer) or [`predicate`](Self::predicate).
///
/// A request is forwarded if it carries `forwarded`, `via`, `x-real-ip` or any `x-forwarded-*`. For
/// details, such a request never counts as its peer; see [`trusted_proxies`](Self::trusted_proxies).
#[derive(Clone)]
pub struct Access {
    rule: Rule,
}

/// The part of a report that a caller may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
// Complete, so not `non_exhaustive`: a third part would leak some details.
pub enum Detail {
    /// The overall status only.
    Status,
    /// All details: names, reasons, timings, pool statistics, info fields.
    Full,
}

#[derive(Clone)]
enum Rule {
    DenyAll,
    AllowAll,
    Loopback,
    Networks(Arc<[IpNet]>),
    Bearer(Tokens),
    Predicate(Arc<dyn Fn(&RequestHead<'_>) -> bool + Send + Sync>),
    Either(Arc<(Access, Access)>),
    WithProxies(Arc<(Access, Arc<[IpNet]>)>),
}

impl Access {
    /// Denies every caller.
    pub const fn nobody() -> Self {
        Self {
            rule: Rule::DenyAll,
        }
    }

    /// Allows every caller.
    pub const fn everybody() -> Self {
        Self {
            rule: Rule::AllowAll,
        }
    }

    /// Allows callers on this host whose requests were not forwarded.
    ///
    /// For details, `Host`, `:authority` and the host of an absolute URI must also be an IP literal,
    /// `localhost` or `*.localhost`, if they are present. Otherwise a page of another site could read the
    /// details through a developer's browser, by DNS rebinding. For [`allow`](crate::HealthLayer::allow) the
    /// host does not matter.
    ///
    /// Some proxies on this host add no forwarding header: nginx' plain `proxy_pass`, TCP forwarders. Behind
    /// them, every caller that sends a local host name is allowed. Use [`bearer`](Self::bearer) instead.
    pub const fn loopback() -> Self {
        Self {
            rule: Rule::Loopback,
        }
    }

    /// Allows client addresses in one of `networks`, each an address or a CIDR such as `10.0.0.0/8`.
    ///
    /// # Errors
    ///
    /// If an entry is neither, or if its host bits are not zero. The error names the first such entry.
    pub fn networks<N: AsRef<str>>(
        networks: impl IntoIterator<Item = N>,
    ) -> Result<Self, InvalidNetwork> {
        Ok(Self {
            rule: Rule::Networks(parse_networks(networks)?),
        })
    }

    /// Allows callers that send `authorization: Bearer` with one of `tokens`.
    ///
    /// The time of the comparison depends on the lengths of the tokens only. Several tokens allow rotation: add
    /// the new one, update the callers, remove the old one.
    ///
    /// # Panics
    ///
    /// If a token is empty, or contains a space, a line end or another character that is not visible ASCII.
    /// The message contains the position of the token, never the token.
    #[track_caller]
    pub fn bearer<T: Into<String>>(tokens: impl IntoIterator<Item = T>) -> Self {
        match Tokens::new(tokens) {
            Ok(tokens) => Self {
                rule: Rule::Bearer(tokens),
            },
            Err((position, fault)) => panic!("bearer token number {position} {fault}"),
        }
    }

    /// Allows requests for which `allows` returns true.
    ///
    /// It is called for every probe: keep it fast. A panic in it denies access.
    pub fn predicate(allows: impl Fn(&RequestHead<'_>) -> bool + Send + Sync + 'static) -> Self {
        Self {
            rule: Rule::Predicate(Arc::new(allows)),
        }
    }

    /// Allows callers that this or `other` allows.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            rule: Rule::Either(Arc::new((self, other))),
        }
    }

    /// Compares the client address instead of the peer address if the peer is one of `proxies`.
    ///
    /// Each of `proxies` is an address or a CIDR. `x-forwarded-for` and `forwarded` are read from the right,
    /// past the proxies, to the first other address; the client may have written everything to the left.
    /// `x-real-ip` must contain one address. All of the three that are present must name the same client.
    /// Configure the proxy to overwrite or remove those that it does not append to.
    ///
    /// Access is denied if a header is malformed, hides the address or is over 4,096 bytes, or if two headers
    /// disagree. If none of the three is present:
    /// - For details, a request with `via` or another `x-forwarded-*` is denied. A request without any
    ///   forwarding header counts as a request of the proxy itself.
    /// - For [`allow`](crate::HealthLayer::allow), the proxy counts as itself, so that it can forward probes.
    ///
    /// Headers of other peers never count. A second call, or a call around a rule that has proxies already,
    /// adds to them. The setting changes [`networks`](Self::networks) and [`RequestHead::client_ip`].
    /// [`loopback`](Self::loopback) never allows a forwarded request that names its client.
    ///
    /// ```
    /// # fn main() -> Result<(), tower_health::access::InvalidNetwork> {
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
    /// As for [`networks`](Self::networks).
    pub fn trusted_proxies<N: AsRef<str>>(
        self,
        proxies: impl IntoIterator<Item = N>,
    ) -> Result<Self, InvalidNetwork> {
        let proxies = parse_networks(proxies)?;
        let inner = self.with_more_proxies(&proxies);
        Ok(match inner.rule {
            Rule::WithProxies(_) => inner,
            _ => Self {
                rule: Rule::WithProxies(Arc::new((inner, proxies))),
            },
        })
    }

    /// Adds `more` to each list of proxies inside, because only the innermost of nested lists counts.
    fn with_more_proxies(self, more: &[IpNet]) -> Self {
        let rule = match self.rule {
            Rule::WithProxies(rule) => {
                let (inner, known) = &*rule;
                let inner = inner.clone().with_more_proxies(more);
                Rule::WithProxies(Arc::new((inner, [known, more].concat().into())))
            }
            Rule::Either(both) => {
                let (one, other) = (*both).clone();
                Rule::Either(Arc::new((
                    one.with_more_proxies(more),
                    other.with_more_proxies(more),
                )))
            }
            rule => rule,
        };
        Self { rule }
    }

    /// Returns whether the caller may probe.
    pub(crate) fn allows(&self, head: &RequestHead<'_>) -> bool {
        self.rule.matches(head)
    }

    /// Returns what the caller may see, by stricter rules than [`allows`](Self::allows).
    pub(crate) fn detail(&self, head: &RequestHead<'_>) -> Detail {
        match &self.rule {
            // The default: nothing of the request is read.
            Rule::DenyAll => Detail::Status,
            rule if rule.matches(&head.for_details()) => Detail::Full,
            _ => Detail::Status,
        }
    }
}

impl Rule {
    fn matches(&self, head: &RequestHead<'_>) -> bool {
        match self {
            Self::DenyAll => false,
            Self::AllowAll => true,
            Self::Loopback => {
                head.note_missing_peer();
                head.is_local()
            }
            Self::Networks(networks) => {
                head.note_missing_peer();
                let client = head.client_ip();
                client.is_some_and(|client| contains(networks, client))
            }
            Self::Bearer(tokens) => tokens.are_in(head.headers()),
            // The head is read only, so a panic leaves no value half changed.
            Self::Predicate(allows) => {
                catch_unwind(AssertUnwindSafe(|| allows(head))).unwrap_or(false)
            }
            Self::Either(both) => both.0.rule.matches(head) || both.1.rule.matches(head),
            Self::WithProxies(rule) => rule.0.rule.matches(&head.with_proxies(&rule.1)),
        }
    }
}

/// Prints no tokens.
impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rule {
            Rule::DenyAll => f.write_str("DenyAll"),
            Rule::AllowAll => f.write_str("AllowAll"),
            Rule::Loopback => f.write_str("Loopback"),
            Rule::Networks(networks) => f.debug_tuple("Networks").field(networks).finish(),
            Rule::Bearer(_) => f.write_str("Bearer(..)"),
            Rule::Predicate(_) => f.write_str("Predicate(..)"),
            Rule::Either(both) => f
                .debug_tuple("Either")
                .field(&both.0)
                .field(&both.1)
                .finish(),
            Rule::WithProxies(rule) => f
                .debug_tuple("WithProxies")
                .field(&rule.0)
                .field(&rule.1)
                .finish(),
        }
    }
}

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

/// Decides who may probe, or who may see details.
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
/// tonic's `TcpConnectInfo` (feature `tonic`). Without one they deny access, with one warning in the log and
/// in [`Health::warnings`](crate::Health::warnings). `axum::serve(listener, app)` records none: serve
/// `app.into_make_service_with_connect_info::<SocketAddr>()`. Unix sockets have no address: use
/// [`bearer`](Self::bearer) or [`predicate`](Self::predicate).
///
/// A request is forwarded if it carries `forwarded`, `via`, `x-real-ip` or any `x-forwarded-*`. For
/// details, such a request never counts as its peer; see [`trusted_proxies`](Self::trusted_proxies).
#[derive(Clone)]
pub struct Access {
    rule: Rule,
}

/// How much of a report a caller may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
// Complete, so not `non_exhaustive`: anything between nothing and all would leak.
pub enum Detail {
    /// The overall status.
    Status,
    /// Everything: names, reasons, timings, pool statistics, info fields.
    Full,
}

#[derive(Clone)]
enum Rule {
    Nobody,
    Everybody,
    Loopback,
    Networks(Arc<[IpNet]>),
    Bearer(Tokens),
    Predicate(Arc<dyn Fn(&RequestHead<'_>) -> bool + Send + Sync>),
    Either(Arc<(Access, Access)>),
    Behind(Arc<(Access, Arc<[IpNet]>)>),
}

impl Access {
    /// Denies every caller.
    pub const fn nobody() -> Self {
        Self { rule: Rule::Nobody }
    }

    /// Allows every caller.
    pub const fn everybody() -> Self {
        Self {
            rule: Rule::Everybody,
        }
    }

    /// Allows callers on this host whose requests were not forwarded.
    ///
    /// For details, `Host`, `:authority` and an absolute-form target must also be an IP literal,
    /// `localhost` or `*.localhost`, where they are present. This is against DNS rebinding: else a page of
    /// another site could read the details through a developer's browser. For
    /// [`allow`](crate::HealthLayer::allow) the host does not matter.
    ///
    /// Behind a proxy on this host that adds no forwarding header (nginx' plain `proxy_pass`, a TCP
    /// forwarder), every caller that sends a local host name is allowed. Use [`bearer`](Self::bearer) there.
    pub const fn loopback() -> Self {
        Self {
            rule: Rule::Loopback,
        }
    }

    /// Allows client addresses in one of `networks`, each an address or a CIDR such as `10.0.0.0/8`.
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

    /// Allows callers that send `authorization: Bearer` with one of `tokens`.
    ///
    /// The time of the comparison depends on the tokens' lengths only. Several tokens allow rotation: add
    /// the new one, update the callers, remove the old one.
    ///
    /// # Panics
    ///
    /// If a token is empty, as from an unset variable, or contains a space, a line end or another
    /// character that no token has. The message gives the token's position, never the token.
    #[track_caller]
    pub fn bearer<T: Into<String>>(tokens: impl IntoIterator<Item = T>) -> Self {
        match Tokens::new(tokens) {
            Ok(tokens) => Self {
                rule: Rule::Bearer(tokens),
            },
            Err((place, fault)) => panic!("bearer token number {place} {fault}"),
        }
    }

    /// Allows requests for which `allows` returns true.
    ///
    /// It runs on every probe: keep it fast. A panic in it denies access.
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
    /// `x-real-ip` must hold one address. All of the three that are present must name the same client:
    /// configure the proxy to overwrite or remove those that it does not append to.
    ///
    /// Access is denied if the client address cannot be determined: a header is malformed, hides the address
    /// or is over 4,096 bytes, or two headers disagree. If none of the three is present:
    /// - for details, a request with `via` or another `x-forwarded-*` is denied, and one without any
    ///   forwarding header counts as the proxy's own;
    /// - for [`allow`](crate::HealthLayer::allow), the proxy counts as itself, so that probes pass through it.
    ///
    /// Headers of other peers never count. Called again, or around a rule that has proxies already, it adds
    /// to them. It changes [`networks`](Self::networks) and [`RequestHead::client_ip`]; a forwarded request
    /// that names its client is never allowed by [`loopback`](Self::loopback).
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

    /// Adds `more` to each list of proxies inside: of two nested lists, the inner one counts.
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

    /// Whether the caller may probe.
    pub(crate) fn allows(&self, head: &RequestHead<'_>) -> bool {
        self.rule.matches(head)
    }

    /// What the caller may see. Stricter than [`allows`](Self::allows): see the rules in the module.
    pub(crate) fn detail(&self, head: &RequestHead<'_>) -> Detail {
        match &self.rule {
            // The default: nothing of the request is read.
            Rule::Nobody => Detail::Status,
            rule if rule.matches(&head.for_details()) => Detail::Full,
            _ => Detail::Status,
        }
    }
}

impl Rule {
    fn matches(&self, head: &RequestHead<'_>) -> bool {
        match self {
            Self::Nobody => false,
            Self::Everybody => true,
            Self::Loopback => {
                head.note_missing_peer();
                head.is_local()
            }
            Self::Networks(networks) => {
                head.note_missing_peer();
                let client = head.client_ip();
                client.is_some_and(|client| contains(networks, client))
            }
            Self::Bearer(tokens) => tokens.are_in(head),
            // The head is read only: a panic leaves nothing half done.
            Self::Predicate(allows) => {
                catch_unwind(AssertUnwindSafe(|| allows(head))).unwrap_or(false)
            }
            Self::Either(both) => both.0.rule.matches(head) || both.1.rule.matches(head),
            Self::Behind(behind) => behind.0.rule.matches(&head.behind(&behind.1)),
        }
    }
}

/// Leaves out the tokens.
impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rule {
            Rule::Nobody => f.write_str("Nobody"),
            Rule::Everybody => f.write_str("Everybody"),
            Rule::Loopback => f.write_str("Loopback"),
            Rule::Networks(networks) => f.debug_tuple("Networks").field(networks).finish(),
            Rule::Bearer(_) => f.write_str("Bearer(..)"),
            Rule::Predicate(_) => f.write_str("Predicate(..)"),
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

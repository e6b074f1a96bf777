use std::{
    borrow::Cow,
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
#[derive(Clone, Debug)]
pub struct Access {
    /// Each grants access by itself.
    rules: Cow<'static, [ProxiedRule]>,
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

/// A rule, and the proxies that count for it.
#[derive(Clone, Debug)]
struct ProxiedRule {
    rule: Rule,
    proxies: Vec<IpNet>,
}

#[derive(Clone)]
enum Rule {
    AllowAll,
    Loopback,
    Networks(Vec<IpNet>),
    Bearer(Tokens),
    Predicate(Arc<dyn Fn(&RequestHead<'_>) -> bool + Send + Sync>),
}

static ALLOW_ALL: [ProxiedRule; 1] = [ProxiedRule::new(Rule::AllowAll)];
static LOOPBACK: [ProxiedRule; 1] = [ProxiedRule::new(Rule::Loopback)];

impl Access {
    /// Denies every caller.
    pub const fn nobody() -> Self {
        Self {
            rules: Cow::Borrowed(&[]),
        }
    }

    /// Allows every caller.
    pub const fn everybody() -> Self {
        Self {
            rules: Cow::Borrowed(&ALLOW_ALL),
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
            rules: Cow::Borrowed(&LOOPBACK),
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
        Ok(Self::of(Rule::Networks(parse_networks(networks)?)))
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
            Ok(tokens) => Self::of(Rule::Bearer(tokens)),
            Err((position, fault)) => panic!("bearer token number {position} {fault}"),
        }
    }

    /// Allows requests for which `allows` returns true.
    ///
    /// It is called for every probe: keep it fast. A panic in it denies access.
    pub fn predicate(allows: impl Fn(&RequestHead<'_>) -> bool + Send + Sync + 'static) -> Self {
        Self::of(Rule::Predicate(Arc::new(allows)))
    }

    /// Allows callers that this or `other` allows.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        self.rules.to_mut().extend(other.rules.into_owned());
        self
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
        mut self,
        proxies: impl IntoIterator<Item = N>,
    ) -> Result<Self, InvalidNetwork> {
        let proxies = parse_networks(proxies)?;
        for rule in self.rules.to_mut() {
            rule.proxies.extend(&proxies);
        }
        Ok(self)
    }

    fn of(rule: Rule) -> Self {
        Self {
            rules: vec![ProxiedRule::new(rule)].into(),
        }
    }

    /// Returns whether the caller may probe.
    pub(crate) fn allows(&self, head: &RequestHead<'_>) -> bool {
        self.rules.iter().any(|rule| rule.matches(head))
    }

    /// Returns what the caller may see, by stricter rules than [`allows`](Self::allows).
    pub(crate) fn detail(&self, head: &RequestHead<'_>) -> Detail {
        // Without rules, which is the default, nothing of the request is read.
        match !self.rules.is_empty() && self.allows(&head.for_details()) {
            true => Detail::Full,
            false => Detail::Status,
        }
    }
}

impl ProxiedRule {
    const fn new(rule: Rule) -> Self {
        Self {
            rule,
            proxies: Vec::new(),
        }
    }

    fn matches(&self, head: &RequestHead<'_>) -> bool {
        let head = || head.with_proxies(&self.proxies);
        match &self.rule {
            Rule::AllowAll => true,
            Rule::Loopback => {
                let head = head();
                head.note_missing_peer();
                head.is_local()
            }
            Rule::Networks(networks) => {
                let head = head();
                head.note_missing_peer();
                let client = head.client_ip();
                client.is_some_and(|client| contains(networks, client))
            }
            Rule::Bearer(tokens) => tokens.are_in(head().headers()),
            // The head is read only, so a panic leaves no value half changed.
            Rule::Predicate(allows) => {
                catch_unwind(AssertUnwindSafe(|| allows(&head()))).unwrap_or(false)
            }
        }
    }
}

/// Prints no tokens.
impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllowAll => f.write_str("AllowAll"),
            Self::Loopback => f.write_str("Loopback"),
            Self::Networks(networks) => f.debug_tuple("Networks").field(networks).finish(),
            Self::Bearer(_) => f.write_str("Bearer(..)"),
            Self::Predicate(_) => f.write_str("Predicate(..)"),
        }
    }
}

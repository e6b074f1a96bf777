use std::{error::Error, fmt, net::IpAddr, sync::Arc};

use http::header;
use ipnet::IpNet;
use subtle::ConstantTimeEq;

use super::Head;

/// Who may probe, or who may see details.
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
    Bearer(Arc<[Box<[u8]>]>),
    Closure(Arc<dyn Fn(&Head<'_>) -> bool + Send + Sync>),
    Either(Arc<(Access, Access)>),
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

    /// Peers on this host, unless a proxy on this host speaks for another.
    pub const fn loopback() -> Self {
        Self {
            rule: Rule::Loopback,
        }
    }

    /// Peers in one of `networks`, each an address or a CIDR such as `10.0.0.0/8`.
    ///
    /// # Errors
    ///
    /// Names the first entry that is neither, or whose host bits are not zero.
    pub fn networks<N: AsRef<str>>(
        networks: impl IntoIterator<Item = N>,
    ) -> Result<Self, InvalidNetwork> {
        let networks: Result<_, _> = networks
            .into_iter()
            .map(|network| parse_network(network.as_ref()))
            .collect();
        Ok(Self {
            rule: Rule::Networks(networks?),
        })
    }

    /// Whoever sends `authorization: Bearer` with one of `tokens`, compared in constant time.
    ///
    /// Several tokens allow rotation: add the new one, move the askers, drop the old one.
    ///
    /// # Panics
    ///
    /// On an empty token, which an unset variable would make everybody's.
    #[track_caller]
    pub fn bearer<T: Into<String>>(tokens: impl IntoIterator<Item = T>) -> Self {
        let tokens: Arc<[Box<[u8]>]> = tokens
            .into_iter()
            .map(|token| token.into().into_bytes().into_boxed_slice())
            .collect();
        assert!(
            tokens.iter().all(|token| !token.is_empty()),
            "an empty bearer token would let everybody in"
        );
        Self {
            rule: Rule::Bearer(tokens),
        }
    }

    /// Whoever `allows` says yes to. It runs on every probe: keep it fast.
    pub fn closure(allows: impl Fn(&Head<'_>) -> bool + Send + Sync + 'static) -> Self {
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

    #[inline]
    pub(crate) fn allows(&self, head: &Head<'_>) -> bool {
        match &self.rule {
            Rule::Nobody => false,
            Rule::Everybody => true,
            rule => rule.allows(head),
        }
    }
}

impl Rule {
    fn allows(&self, head: &Head<'_>) -> bool {
        match self {
            Self::Nobody => false,
            Self::Everybody => true,
            Self::Loopback => {
                head.peer().is_some_and(|peer| peer.is_loopback()) && !head.is_forwarded()
            }
            Self::Networks(networks) => head
                .peer()
                .is_some_and(|peer| networks.iter().any(|network| network.contains(&peer))),
            Self::Bearer(tokens) => bearer_token(head).is_some_and(|sent| is_one_of(sent, tokens)),
            Self::Closure(allows) => allows(head),
            Self::Either(both) => both.0.allows(head) || both.1.allows(head),
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
        }
    }
}

fn bearer_token<'a>(head: &Head<'a>) -> Option<&'a [u8]> {
    let value = head.headers().get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

/// Looks at every token, so that time tells neither which one nor how much of it was right.
fn is_one_of(sent: &[u8], tokens: &[Box<[u8]>]) -> bool {
    let mut found = subtle::Choice::from(0);
    for token in tokens {
        found |= sent.ct_eq(token);
    }
    found.into()
}

fn parse_network(text: &str) -> Result<IpNet, InvalidNetwork> {
    let invalid = || InvalidNetwork(text.to_owned());
    let network = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address.to_canonical()),
        Err(_) => text.parse::<IpNet>().map_err(|_| invalid())?,
    };
    // 192.168.1.5/24 is a mistake: of an address, or of a length.
    if network.trunc() == network {
        Ok(network)
    } else {
        Err(invalid())
    }
}

/// An entry that is neither an address nor a CIDR with its host bits zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidNetwork(String);

impl fmt::Display for InvalidNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is neither an address nor a network such as 10.0.0.0/8",
            self.0
        )
    }
}

impl Error for InvalidNetwork {}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use http::Request;

    use super::{super::PeerAddr, Access, Head, parse_network};

    fn allows(access: &Access, peer: Option<&str>, headers: &[(&str, &str)]) -> bool {
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(()).expect("valid");
        if let Some(peer) = peer {
            let peer: SocketAddr = peer.parse().expect("an address");
            request.extensions_mut().insert(PeerAddr(peer));
        }
        access.allows(&Head::of(&request))
    }

    #[test]
    fn loopback_is_a_local_peer_that_speaks_for_itself() {
        let access = Access::loopback();
        for peer in [
            "127.0.0.1:1",
            "127.9.9.9:1",
            "[::1]:1",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert!(allows(&access, Some(peer), &[]), "{peer}");
            for header in ["forwarded", "x-forwarded-for", "x-real-ip", "via"] {
                assert!(
                    !allows(&access, Some(peer), &[(header, "")]),
                    "{peer} {header}"
                );
            }
        }
        for peer in [
            None,
            Some("10.0.0.1:1"),
            Some("[::ffff:10.0.0.1]:1"),
            Some("[::2]:1"),
        ] {
            assert!(!allows(&access, peer, &[]), "{peer:?}");
        }
    }

    #[test]
    fn networks_hold_addresses_and_cidrs() {
        let access = Access::networks(["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"]).expect("valid");
        let table = [
            ("10.1.2.3:1", true),
            ("[::ffff:10.1.2.3]:1", true),
            ("11.0.0.1:1", false),
            ("192.0.2.7:1", true),
            ("192.0.2.8:1", false),
            ("[2001:db8::1]:1", true),
            ("[2001:db9::1]:1", false),
        ];
        for (peer, expected) in table {
            assert_eq!(allows(&access, Some(peer), &[]), expected, "{peer}");
        }
        assert!(!allows(&access, None, &[]));
    }

    #[test]
    fn an_invalid_network_is_named() {
        for text in [
            "",
            " 10.0.0.0/8",
            "192.168.1.5/24",
            "10.0.0.0/33",
            "host",
            "10.0.0",
        ] {
            let error = parse_network(text).expect_err(text);
            assert!(error.to_string().contains(&format!("{text:?}")));
        }
    }

    #[test]
    fn any_of_several_tokens_opens() {
        let access = Access::bearer(["old", "new"]);
        let table = [
            ("Bearer old", true),
            ("bearer new", true),
            ("Bearer ne", false),
            ("Bearer newer", false),
            ("Bearer ", false),
            ("Basic new", false),
            ("new", false),
            ("", false),
        ];
        for (value, expected) in table {
            assert_eq!(
                allows(&access, None, &[("authorization", value)]),
                expected,
                "{value}"
            );
        }
        assert!(!format!("{access:?}").contains("old"));
    }

    #[test]
    #[should_panic(expected = "empty bearer token")]
    fn an_empty_token_is_refused() {
        let _ = Access::bearer([""]);
    }
}

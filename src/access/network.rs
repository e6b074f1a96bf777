use std::{error::Error, fmt, net::IpAddr, sync::Arc};

use ipnet::IpNet;

/// Of `::ffff:0:0/96`.
const MAPPED_LENGTH: u8 = 96;

/// Reads a list of addresses and CIDRs; the first entry that is neither is the error.
pub(super) fn parse_networks<N: AsRef<str>>(
    networks: impl IntoIterator<Item = N>,
) -> Result<Arc<[IpNet]>, InvalidNetwork> {
    networks
        .into_iter()
        .map(|network| parse_network(network.as_ref()))
        .collect()
}

pub(super) fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

fn parse_network(text: &str) -> Result<IpNet, InvalidNetwork> {
    read(text).ok_or_else(|| InvalidNetwork(text.to_owned()))
}

// `ipnet` would read `010.0.0.0/08`, where others see an octal number.
fn read(text: &str) -> Option<IpNet> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(prefix_length(length)?)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let network = match length {
        None => IpNet::from(address),
        Some(length) => IpNet::new(address, length).ok()?,
    };
    // 192.168.1.5/24 is a mistake: of an address, or of a length.
    (network.trunc() == network).then(|| canonical(network))
}

fn prefix_length(text: &str) -> Option<u8> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let is_plain = text == "0" || !text.starts_with('0');
    text.parse().ok().filter(|_| is_number && is_plain)
}

/// A network of IPv4-mapped addresses as the IPv4 one: a peer is never a mapped address.
fn canonical(network: IpNet) -> IpNet {
    let length = network.prefix_len().checked_sub(MAPPED_LENGTH);
    match (network, network.addr().to_canonical(), length) {
        (IpNet::V6(_), address @ IpAddr::V4(_), Some(length)) => {
            // At most 32, of the 128 that there were.
            IpNet::new(address, length).unwrap_or(network)
        }
        _ => network,
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
    use super::{contains, parse_network, parse_networks};

    #[test]
    fn an_invalid_network_is_named() {
        for text in [
            "",
            " 10.0.0.0/8",
            "10.0.0.0/8\n",
            "192.168.1.5/24",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/255.0.0.0",
            "10.0.0.0/",
            "10.0.0.0/08",
            "10.0.0.0/+8",
            "10.0.0.0/8/8",
            "010.0.0.0/8",
            "10.0.00.0/8",
            "2001:db8::1/32",
            "::1/129",
            "010.0.0.1",
            "[::1]",
            "fe80::1%1",
            "host",
            "10.0.0",
        ] {
            let error = parse_network(text).expect_err(text);
            assert!(error.to_string().contains(&format!("{text:?}")));
            let among_others = parse_networks(["10.0.0.0/8", text, "x"]);
            assert_eq!(among_others.expect_err(text), error);
        }
    }

    #[test]
    fn an_ipv4_mapped_network_is_the_ipv4_one() {
        let networks = parse_networks(["::ffff:10.0.0.1"]).expect("valid");
        assert!(contains(&networks, [10, 0, 0, 1].into()));
        assert!(!contains(&networks, [10, 0, 0, 2].into()));

        let networks = parse_networks(["::ffff:10.0.0.0/104"]).expect("valid");
        assert!(contains(&networks, [10, 1, 2, 3].into()));
        assert!(!contains(&networks, [11, 0, 0, 1].into()));
        let all = parse_networks(["::ffff:0:0/96"]).expect("valid");
        assert!(contains(&all, [192, 0, 2, 1].into()));
        // Of these the mapped addresses are a part, and the rest no peer has.
        let wider = parse_networks(["::fffe:0:0/95"]).expect("valid");
        assert!(!contains(&wider, [10, 0, 0, 1].into()));
        assert!(parse_networks(["::ffff:10.0.0.1/104"]).is_err());
    }
}

use std::{error::Error, fmt, net::IpAddr};

use ipnet::IpNet;

/// The prefix length of `::ffff:0:0/96`, the IPv4-mapped addresses.
const MAPPED_LENGTH: u8 = 96;

/// Parses a list of addresses and CIDRs.
///
/// # Errors
///
/// The first entry that is neither.
pub(super) fn parse_networks<N: AsRef<str>>(
    networks: impl IntoIterator<Item = N>,
) -> Result<Vec<IpNet>, InvalidNetwork> {
    networks
        .into_iter()
        .map(|network| {
            let text = network.as_ref();
            parse_network(text).ok_or_else(|| InvalidNetwork(text.to_owned()))
        })
        .collect()
}

pub(super) fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

// `ipnet` would accept `010.0.0.0/08`, which other programs read as octal.
fn parse_network(text: &str) -> Option<IpNet> {
    let network = match text.split_once('/') {
        None => IpNet::from(text.parse::<IpAddr>().ok()?),
        Some((address, length)) => {
            IpNet::new(address.parse().ok()?, prefix_length(length)?).ok()?
        }
    };
    // In 192.168.1.5/24 either the address or the length is wrong.
    (network.trunc() == network).then(|| canonical(network))
}

fn prefix_length(text: &str) -> Option<u8> {
    let length: u8 = text.parse().ok()?;
    (length.to_string() == text).then_some(length)
}

/// Converts a network of IPv4-mapped addresses to IPv4, because peer addresses are converted, too.
fn canonical(network: IpNet) -> IpNet {
    // An IPv4 network has a shorter prefix.
    let length = network.prefix_len().checked_sub(MAPPED_LENGTH);
    match (network.addr().to_canonical(), length) {
        // The length is at most 32, so it is valid.
        (address @ IpAddr::V4(_), Some(length)) => IpNet::new(address, length).unwrap_or(network),
        _ => network,
    }
}

/// The error for an entry that is neither an address nor a CIDR whose host bits are zero.
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
    use super::{contains, parse_networks};

    #[test]
    fn the_error_names_the_first_invalid_network() {
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
            let error = parse_networks(["10.0.0.0/8", text, "x"]).expect_err(text);
            assert!(error.to_string().starts_with(&format!("{text:?} is")));
        }
    }

    #[test]
    fn an_ipv4_mapped_network_contains_ipv4_addresses() {
        let networks = parse_networks(["::ffff:10.0.0.1"]).expect("valid");
        assert!(contains(&networks, [10, 0, 0, 1].into()));
        assert!(!contains(&networks, [10, 0, 0, 2].into()));

        let networks = parse_networks(["::ffff:10.0.0.0/104"]).expect("valid");
        assert!(contains(&networks, [10, 1, 2, 3].into()));
        assert!(!contains(&networks, [11, 0, 0, 1].into()));
        let all = parse_networks(["::ffff:0:0/96"]).expect("valid");
        assert!(contains(&all, [192, 0, 2, 1].into()));
        // A wider network contains mapped addresses, but no peer address is one.
        let wider = parse_networks(["::fffe:0:0/95"]).expect("valid");
        assert!(!contains(&wider, [10, 0, 0, 1].into()));
        assert!(parse_networks(["::ffff:10.0.0.1/104"]).is_err());
    }
}

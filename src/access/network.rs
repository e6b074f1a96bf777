use std::{error::Error, fmt, net::IpAddr, sync::Arc};

use ipnet::IpNet;

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
    }
}

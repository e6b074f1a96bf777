//! Networks: what is accepted means what a mask over all bits means, and an address of it is in it.

#![no_main]

use std::net::IpAddr;

use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use tower_health::Access;
use tower_health_fuzz::allows;

// The network, and then addresses to try.
fuzz_target!(|text: &str| {
    let mut lines = text.split('\n');
    let network = lines.next().unwrap_or_default();
    let model = Model::parse(network);
    let access = match Access::networks([network]) {
        Ok(access) => access,
        Err(error) => {
            assert!(model.is_none(), "{network:?} is refused");
            assert!(error.to_string().contains(&format!("{network:?}")));
            return;
        }
    };
    let Some(model) = model else {
        panic!("{network:?} is accepted");
    };
    let own = [model.first(), model.last()];
    let others = lines.take(16).filter_map(|line| line.parse().ok());
    for address in others.chain(own).chain(model.neighbours()) {
        assert_eq!(
            allows(access.clone(), HeaderMap::new(), Some(address)),
            model.contains(address),
            "{address} in {network}"
        );
    }
});

/// Prefix, as a number, and how many of the bits count, of how many.
#[derive(Clone, Copy)]
struct Model {
    bits: u128,
    fixed: u32,
    width: u32,
}

impl Model {
    fn parse(text: &str) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let (mut bits, mut width) = number(address);
        let mut fixed = match length {
            None => width,
            Some(length) => {
                let is_number = length.bytes().all(|byte| byte.is_ascii_digit());
                let is_plain = length == "0" || !length.starts_with('0');
                let length = length.parse().ok().filter(|_| is_number && is_plain)?;
                (length <= width).then_some(length)?
            }
        };
        // A peer is never an IPv4-mapped address, so a network of them is the IPv4 one.
        if width == 128 && fixed >= 96 && bits >> 32 == 0xffff {
            (bits, fixed, width) = (bits & u128::from(u32::MAX), fixed - 96, 32);
        }
        let model = Self { bits, fixed, width };
        (bits & model.host() == 0).then_some(model)
    }

    fn host(self) -> u128 {
        let free = self.width - self.fixed;
        1_u128.checked_shl(free).map_or(u128::MAX, |bit| bit - 1)
    }

    fn contains(self, address: IpAddr) -> bool {
        let (bits, width) = number(address.to_canonical());
        width == self.width && bits & !self.host() == self.bits
    }

    fn first(self) -> IpAddr {
        self.address(self.bits)
    }

    fn last(self) -> IpAddr {
        self.address(self.bits | self.host())
    }

    fn neighbours(self) -> impl Iterator<Item = IpAddr> {
        let most = if self.width == 32 {
            u128::from(u32::MAX)
        } else {
            u128::MAX
        };
        let before = self.bits.wrapping_sub(1) & most;
        let after = (self.bits | self.host()).wrapping_add(1) & most;
        [before, after]
            .into_iter()
            .map(move |bits| self.address(bits))
    }

    fn address(self, bits: u128) -> IpAddr {
        match self.width {
            32 => IpAddr::from((bits as u32).to_be_bytes()),
            _ => IpAddr::from(bits.to_be_bytes()),
        }
    }
}

fn number(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(address) => (u32::from(address).into(), 32),
        IpAddr::V6(address) => (address.into(), 128),
    }
}

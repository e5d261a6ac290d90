//! Whether a network of the configuration holds an address.

use std::net::IpAddr;

use crate::conf::settings::Cidr;

/// Whether a network holds an address; an IPv4 address mapped into IPv6 counts as IPv4.
pub(crate) fn contains(network: &Cidr, address: IpAddr) -> bool {
    match (network.address.to_canonical(), address.to_canonical()) {
        (IpAddr::V4(net), IpAddr::V4(ip)) => {
            let prefix = if network.address.is_ipv6() { network.prefix.saturating_sub(96) } else { network.prefix };
            same_prefix(u128::from(net.to_bits()) << 96, u128::from(ip.to_bits()) << 96, prefix)
        }
        (IpAddr::V6(net), IpAddr::V6(ip)) => same_prefix(net.to_bits(), ip.to_bits(), network.prefix),
        _ => false,
    }
}

fn same_prefix(left: u128, right: u128, bits: u8) -> bool {
    let mask = u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0);
    left & mask == right & mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_their_addresses() {
        let net = |text: &str, prefix| Cidr { address: text.parse().unwrap(), prefix };
        let holds = |net: Cidr, ip: &str| contains(&net, ip.parse().unwrap());
        assert!(holds(net("127.0.0.0", 8), "127.1.2.3"));
        assert!(holds(net("127.0.0.0", 8), "::ffff:127.1.2.3"));
        assert!(!holds(net("10.0.0.0", 8), "127.0.0.1"));
        assert!(holds(net("0.0.0.0", 0), "1.2.3.4"));
        assert!(!holds(net("0.0.0.0", 0), "::1"));
        assert!(holds(net("fe80::", 10), "fe80::1"));
        assert!(holds(net("10.0.0.1", 32), "10.0.0.1"));
    }
}

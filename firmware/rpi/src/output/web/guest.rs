//! Who may ask.

use std::net::IpAddr;

/// Whether a request for this host is meant for this machine's own page. A site from elsewhere whose
/// name is made to lead here would ask for that name: it must not see the camera.
pub(super) fn is_welcome(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => host.split(':').next(),
    };
    let name = name.unwrap_or_default();
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_welcome() {
        for host in ["localhost", "LocalHost:8080", "127.0.0.1:8080", "127.1.2.3", "[::1]:80"] {
            assert!(is_welcome(host), "{host}");
        }
        for host in
            ["", "example.org", "example.org:8080", "192.168.1.2", "[::2]:80", "localhost.x"]
        {
            assert!(!is_welcome(host), "{host}");
        }
    }
}

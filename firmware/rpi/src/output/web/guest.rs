//! Who may ask.

use std::net::IpAddr;

/// Whether a request for this host is meant for this page, which may be for this machine alone. A site from
/// elsewhere whose name is made to lead here would ask for that name: it must not see the camera.
pub(super) fn is_welcome(host: &str, alone: bool) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => host.split(':').next(),
    };
    let name = name.unwrap_or_default();
    let address = name.parse::<IpAddr>().ok();
    if alone {
        return name.eq_ignore_ascii_case("localhost") || address.is_some_and(|a| a.is_loopback());
    }
    // Names that nobody can have on the internet: those of the network around, and of mDNS.
    let local = match name.trim_end_matches('.').rsplit_once('.') {
        None => !name.is_empty(),
        Some((_, end)) => end.eq_ignore_ascii_case("local"),
    };
    local || address.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_welcome() {
        for host in ["localhost", "LocalHost:8080", "127.0.0.1:8080", "127.1.2.3", "[::1]:80"] {
            assert!(is_welcome(host, true) && is_welcome(host, false), "{host}");
        }
        for host in
            ["", "example.org", "example.org:8080", "192.168.1.2", "[::2]:80", "localhost.x"]
        {
            assert!(!is_welcome(host, true), "{host}");
        }
    }

    #[test]
    fn names_from_elsewhere_are_welcome_nowhere() {
        for host in
            ["192.168.1.2:8080", "[fe80::1]:8080", "raspberrypi", "Pi.Local:8080", "pi.local."]
        {
            assert!(is_welcome(host, false), "{host}");
        }
        for host in ["", ":8080", "example.org", "pi.local.example.org:8080"] {
            assert!(!is_welcome(host, false), "{host}");
        }
    }
}

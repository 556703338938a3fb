//! What only HTTP reads of the configuration.

use crate::config::{Config, Listen, ListenTls, Protocol};

/// The settings of HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpSettings {
    /// Under which address browsers and clients reach this, without a slash at its end; `None`: what a request named.
    pub url: Option<String>,
    /// The same for links that are given out: without a configured address, that of the first listener with TLS, or of the
    /// first one. `None`: nothing listens.
    pub base: Option<String>,
    /// How to connect, in words: a sentence for each listener that other machines can reach.
    pub ways: Vec<String>,
}

impl HttpSettings {
    /// The settings that a configuration means.
    #[must_use]
    pub fn new(config: &Config) -> HttpSettings {
        let url = Some(config.http.url.clone()).filter(|url| !url.is_empty());
        HttpSettings {
            base: url.clone().or_else(|| base(config)),
            url,
            ways: config.listen.iter().filter_map(|listen| way(listen, &config.domain)).collect(),
        }
    }
}

/// The address of the first listener with TLS that other machines can reach; else of the first one.
fn base(config: &Config) -> Option<String> {
    let ours = || config.listen.iter().filter(|l| l.protocol == Protocol::Http && l.protocol.is_built());
    let open = |l: &&Listen| l.tls == ListenTls::Direct && !l.address.is_loopback();
    let listen = ours().find(open).or_else(|| ours().next())?;
    let (scheme, usual) = if listen.tls == ListenTls::Direct { ("https", 443) } else { ("http", 80) };
    let (domain, port) = (&config.domain, listen.address.port());
    Some(if port == usual { format!("{scheme}://{domain}") } else { format!("{scheme}://{domain}:{port}") })
}

fn way(listen: &Listen, domain: &str) -> Option<String> {
    if listen.address.is_loopback() || !listen.protocol.is_built() {
        return None;
    }
    let tls = match listen.tls {
        ListenTls::Off => "without encryption",
        ListenTls::Starttls => "with STARTTLS",
        ListenTls::Direct => "with TLS",
    };
    let port = listen.address.port();
    Some(match listen.protocol {
        Protocol::Irc => format!("IRC: server {domain}, port {port}, {tls}."),
        Protocol::Xmpp => format!("XMPP: log in as your name @{domain} (port {port}, {tls})."),
        Protocol::Http => return None,
    })
}

#[cfg(all(test, feature = "tls"))]
mod tests {
    use super::*;
    use crate::config::parse;

    #[test]
    fn links_begin_with_an_address_that_others_can_reach() {
        let base = |text: &str| {
            let parsed = parse("x", text);
            assert!(parsed.is_usable(), "{:?}", parsed.diagnostics);
            HttpSettings::new(&parsed.config).base
        };
        let listen = |address: &str, tls: &str| {
            format!("[[listen]]\naddress = \"{address}\"\nprotocol = \"http\"\ntls = \"{tls}\"\n")
        };
        let (local, open) = (listen("localhost:8008", "off"), listen("*:443", "direct"));
        let domain = "domain = \"x.org\"\n";
        assert_eq!(base(domain), Some("https://x.org:8443".to_owned()));
        assert_eq!(base(&format!("{domain}{local}{open}")), Some("https://x.org".to_owned()));
        assert_eq!(base(&format!("{domain}{local}")), Some("http://x.org:8008".to_owned()));
        let url = "[http]\nurl = \"https://files.x.org/\"\n";
        assert_eq!(base(&format!("{domain}{open}{url}")), Some("https://files.x.org".to_owned()));
        let other = "[[listen]]\naddress = \"*:6697\"\nprotocol = \"irc\"\n";
        assert_eq!(base(&format!("{domain}{other}")), None);
    }
}

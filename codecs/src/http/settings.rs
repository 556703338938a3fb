//! What only HTTP reads of the configuration.

use crate::config::{Config, Listen, ListenTls, Protocol};

/// The settings of HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpSettings {
    /// Under which address browsers and clients reach this, without a slash at its end; `None`: what a request named.
    pub url: Option<String>,
    /// How to connect, in words: a sentence for each listener that other machines can reach.
    pub ways: Vec<String>,
}

impl HttpSettings {
    /// The settings that a configuration means.
    #[must_use]
    pub fn new(config: &Config) -> HttpSettings {
        let url = Some(config.http.url.clone()).filter(|url| !url.is_empty());
        HttpSettings {
            url,
            ways: config.listen.iter().filter_map(|listen| way(listen, &config.domain)).collect(),
        }
    }
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

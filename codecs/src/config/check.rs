//! What no key can tell alone.

use super::diagnostic::Severity;
use super::read::{Reader, Spans};
use super::{Config, ListenTls, Protocol};

/// Looks at the whole configuration.
pub(super) fn check(config: &Config, spans: &Spans, reader: &mut Reader<'_>) {
    if config.shards.is_some_and(|n| !n.is_power_of_two()) {
        let message = "`shards` must be 1, 2, 4, 8, 16, 32 or 64".to_owned();
        reader.report(Severity::Error, 0, message, None);
    }
    if config.tls.certificate.is_some() != config.tls.key.is_some() {
        let message = "`certificate` and `key` belong together: give both or neither".to_owned();
        reader.report(Severity::Error, spans.tls, message, None);
    }
    listeners(config, spans, reader);
}

fn listeners(config: &Config, spans: &Spans, reader: &mut Reader<'_>) {
    for (n, (listen, at)) in config.listen.iter().zip(&spans.listen).enumerate() {
        let mut error = |message: String, suggestion: &str| {
            reader.report(Severity::Error, *at, message, Some(suggestion.to_owned()));
        };
        if !listen.protocol.is_built() {
            error(
                format!("this program was built without {}", listen.protocol.name()),
                "build it with that feature, or take the listener out",
            );
        }
        if listen.tls != ListenTls::Off && !cfg!(feature = "tls") {
            error(
                "this program was built without tls".to_owned(),
                "set tls = \"off\" and let a proxy do TLS",
            );
        }
        if listen.tls == ListenTls::Starttls && listen.protocol == Protocol::Irc {
            error(
                "IRC has no STARTTLS here: an upgrade that anybody in between can suppress protects nothing"
                    .to_owned(),
                "use tls = \"direct\" on a port of its own, usually 6697",
            );
        }
        if listen.tls == ListenTls::Starttls && listen.protocol == Protocol::Http {
            error(
                "HTTP has no STARTTLS".to_owned(),
                "use tls = \"direct\" on a port of its own, usually 443 or 8443",
            );
        }
        if listen.tls == ListenTls::Off && !listen.address.is_loopback() && !config.plaintext_anywhere {
            error(
                format!(
                    "{} can be reached from other machines, and without TLS anybody between reads passwords",
                    listen.address
                ),
                "use tls = \"direct\" or \"starttls\", an address such as \"localhost:6667\", or set plaintext-anywhere = true",
            );
        }
        let same = |other: &super::Listen| other.address == listen.address && listen.address.port() != 0;
        if config.listen[..n].iter().any(same) {
            error(
                format!("{} is listened on twice", listen.address),
                "give each listener its own address or port",
            );
        }
    }
}

//! TLS as the core wants a byte layer.

use lavina_core::projection::{Channel, Layer as CoreLayer, Reason};
#[cfg(feature = "tls")]
use lavina_core::text::{Octets, Str};

#[cfg(feature = "tls")]
use crate::tls::{TlsConfig, TlsError, TlsLayer};
#[cfg(feature = "tls")]
use std::sync::Arc;

use crate::sasl::{ChannelBindings, EndPointHash};

/// The layer of a connection: TLS, or nothing that could exist where TLS is not built in.
pub enum Layer {
    /// TLS, and what is known of its channel once the handshake is done.
    #[cfg(feature = "tls")]
    Tls(TlsLayer, Option<Box<Channel>>),
    /// A WebSocket, on top of TLS or of nothing.
    #[cfg(all(feature = "http", any(feature = "irc", feature = "xmpp")))]
    Web(Box<crate::http::socket::Socket>),
}

impl Layer {
    /// A TLS layer whose peer has not said anything yet.
    ///
    /// # Errors
    /// [`Reason::Tls`] if the configuration cannot be used.
    #[cfg(feature = "tls")]
    pub fn tls(config: Arc<TlsConfig>) -> Result<Layer, Reason> {
        TlsLayer::new(config).map(|tls| Layer::Tls(tls, None)).map_err(|e| reason(&e))
    }
}

impl CoreLayer for Layer {
    fn read(&mut self, wire: &[u8], plain: &mut Vec<u8>, answer: &mut Vec<u8>) -> Result<(), Reason> {
        let _ = (wire, &plain, &answer);
        match *self {
            #[cfg(feature = "tls")]
            Layer::Tls(ref mut tls, ref mut channel) => {
                let read = tls.read(wire, plain, answer).map_err(|e| reason(&e))?;
                if read.established && channel.is_none() {
                    *channel = tls.channel().map(|info| Box::new(describe(&info)));
                }
                Ok(())
            }
            #[cfg(all(feature = "http", any(feature = "irc", feature = "xmpp")))]
            Layer::Web(ref mut socket) => socket.read(wire, plain, answer),
        }
    }

    fn write(&mut self, plain: &[u8], wire: &mut Vec<u8>) {
        let _ = (plain, &wire);
        match *self {
            #[cfg(feature = "tls")]
            Layer::Tls(ref mut tls, _) => {
                tls.write(plain, wire);
            }
            #[cfg(all(feature = "http", any(feature = "irc", feature = "xmpp")))]
            Layer::Web(ref mut socket) => socket.write(plain, wire),
        }
    }

    fn close(&mut self, wire: &mut Vec<u8>) {
        let _ = &wire;
        match *self {
            #[cfg(feature = "tls")]
            Layer::Tls(ref mut tls, _) => tls.close(wire),
            #[cfg(all(feature = "http", any(feature = "irc", feature = "xmpp")))]
            Layer::Web(ref mut socket) => socket.close(wire),
        }
    }

    fn channel(&self) -> Option<&Channel> {
        match *self {
            #[cfg(feature = "tls")]
            Layer::Tls(_, ref channel) => channel.as_deref(),
            #[cfg(all(feature = "http", any(feature = "irc", feature = "xmpp")))]
            Layer::Web(ref socket) => socket.channel(),
        }
    }

    fn is_open(&self) -> bool {
        match *self {
            #[cfg(feature = "tls")]
            Layer::Tls(_, ref channel) => channel.is_some(),
            #[cfg(all(feature = "http", any(feature = "irc", feature = "xmpp")))]
            Layer::Web(ref socket) => socket.is_open(),
        }
    }

    fn is_secure(&self) -> bool {
        match *self {
            #[cfg(feature = "tls")]
            Layer::Tls(..) => true,
            #[cfg(all(feature = "http", any(feature = "irc", feature = "xmpp")))]
            Layer::Web(ref socket) => socket.is_secure(),
        }
    }

    fn is_over(&self) -> bool {
        match *self {
            #[cfg(feature = "tls")]
            Layer::Tls(..) => false,
            #[cfg(all(feature = "http", any(feature = "irc", feature = "xmpp")))]
            Layer::Web(ref socket) => socket.is_over(),
        }
    }
}

/// What SASL can bind to on a channel; without one, nothing.
#[must_use]
pub fn bindings(channel: Option<&Channel>) -> ChannelBindings {
    channel.map_or_else(ChannelBindings::default, |channel| ChannelBindings {
        exporter: channel.exporter,
        end_point: EndPointHash::try_from(&channel.end_point[..]).ok().filter(|hash| !hash.is_empty()),
    })
}

#[cfg(feature = "tls")]
fn describe(info: &crate::tls::ChannelInfo) -> Channel {
    Channel {
        alpn: info.alpn.as_deref().and_then(|name| std::str::from_utf8(name).ok()).map(Str::new),
        server_name: info.sni.as_deref().map(Str::new),
        exporter: info.bindings.exporter,
        end_point: info.bindings.end_point.as_deref().map(Octets::from).unwrap_or_default(),
        description: Str::new(format!("{} {}", info.version, info.cipher)),
    }
}

#[cfg(feature = "tls")]
fn reason(error: &TlsError) -> Reason {
    Reason::Tls(match error {
        TlsError::NotTls => "the client does not speak TLS",
        TlsError::Incompatible(_) => "no TLS version or cipher in common",
        TlsError::Alert(_) => "the client gave up, as when it does not trust the certificate",
        TlsError::Internal(_) => "internal error",
        TlsError::Misbehaved(_) => "the client broke the protocol",
    })
}

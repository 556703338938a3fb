//! A WebSocket as a byte layer: below it TLS or nothing, above it a protocol that knows only its own stream.

use super::websocket::{CloseCode, Decoder, Event, Failure, Opcode, Spoken, close, frame};
use crate::layer::Layer;
use lavina_core::limits::Limits;
use lavina_core::projection::{Channel, Layer as CoreLayer, Reason};

/// How messages and the protocol's stream become each other.
#[derive(Debug)]
enum Binding {
    #[cfg(feature = "irc")]
    Irc(crate::irc::websocket::Lines),
    #[cfg(feature = "xmpp")]
    Xmpp(crate::xmpp::websocket::Framing),
}

/// A WebSocket whose handshake is done.
pub struct Socket {
    below: Option<Layer>,
    decoder: Decoder,
    binding: Binding,
    /// The close frame is sent.
    ended: bool,
    /// The peer sent its own.
    over: bool,
}

impl Socket {
    /// A WebSocket on top of a layer, or of the bare connection.
    #[must_use]
    pub fn new(spoken: Spoken, below: Option<Layer>, limits: &Limits) -> Socket {
        let (binding, longest) = match spoken {
            #[cfg(feature = "irc")]
            Spoken::Irc { binary } => {
                (Binding::Irc(crate::irc::websocket::Lines::new(binary)), crate::irc::websocket::MESSAGE_MAX)
            }
            #[cfg(feature = "xmpp")]
            Spoken::Xmpp => (
                Binding::Xmpp(crate::xmpp::websocket::Framing::new(limits)),
                crate::xmpp::websocket::message_max(limits),
            ),
        };
        let _ = limits;
        Socket { below, decoder: Decoder::new(longest), binding, ended: false, over: false }
    }

    /// Takes frames, and appends what is to be answered at once.
    fn take(&mut self, bytes: &[u8], plain: &mut Vec<u8>, frames: &mut Vec<u8>) -> Result<(), Failure> {
        let mut at = 0;
        while at < bytes.len() && !self.over {
            let (event, used) = self.decoder.next(&bytes[at..])?;
            at += used;
            match event {
                Some(Event::Text(text)) => self.binding.text(&text, plain)?,
                Some(Event::Binary(bytes)) => self.binding.binary(&bytes, plain)?,
                Some(Event::Ping(content)) if !self.ended => frame(Opcode::Pong, &content, frames),
                Some(Event::Close(code)) => {
                    self.over = true;
                    self.end(code, "", frames);
                }
                Some(Event::Ping(_) | Event::Pong) | None => {}
            }
        }
        Ok(())
    }

    fn end(&mut self, code: Option<CloseCode>, why: &str, frames: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.ended, true) {
            close(code, why, frames);
        }
    }

    /// Appends frames in the form of what is below.
    fn pass(&mut self, frames: &[u8], wire: &mut Vec<u8>) {
        match &mut self.below {
            Some(below) if !frames.is_empty() => below.write(frames, wire),
            Some(_) => {}
            None => wire.extend_from_slice(frames),
        }
    }
}

impl Binding {
    fn text(&mut self, text: &str, plain: &mut Vec<u8>) -> Result<(), Failure> {
        match self {
            #[cfg(feature = "irc")]
            Binding::Irc(lines) => lines.inward(text.as_bytes(), plain),
            #[cfg(feature = "xmpp")]
            Binding::Xmpp(framing) => framing.inward(text, plain)?,
        }
        Ok(())
    }

    fn binary(&mut self, bytes: &[u8], plain: &mut Vec<u8>) -> Result<(), Failure> {
        match self {
            #[cfg(feature = "irc")]
            Binding::Irc(lines) => {
                lines.inward(bytes, plain);
                Ok(())
            }
            // Data frames carry text (RFC 7395 §3.2).
            #[cfg(feature = "xmpp")]
            Binding::Xmpp(_) => {
                let _ = (bytes, plain);
                Err(Failure { code: CloseCode::UNSUPPORTED, why: "XMPP is sent in text messages" })
            }
        }
    }

    fn outward(&mut self, plain: &[u8], frames: &mut Vec<u8>) {
        match self {
            #[cfg(feature = "irc")]
            Binding::Irc(lines) => lines.outward(plain, frames),
            #[cfg(feature = "xmpp")]
            Binding::Xmpp(framing) => framing.outward(plain, frames),
        }
    }
}

impl CoreLayer for Socket {
    fn read(&mut self, wire: &[u8], plain: &mut Vec<u8>, answer: &mut Vec<u8>) -> Result<(), Reason> {
        let mut frames = Vec::new();
        let taken = match &mut self.below {
            Some(below) => {
                let mut bytes = Vec::new();
                // What came before TLS failed counts.
                let read = below.read(wire, &mut bytes, answer);
                let taken = self.take(&bytes, plain, &mut frames);
                read.and(Ok(taken))
            }
            None => Ok(self.take(wire, plain, &mut frames)),
        };
        if let Ok(Err(failure)) = &taken {
            self.end(Some(failure.code), failure.why, &mut frames);
        }
        self.pass(&frames, answer);
        taken?.map_err(|failure| Reason::Protocol(failure.why))
    }

    fn write(&mut self, plain: &[u8], wire: &mut Vec<u8>) {
        if !self.ended {
            let mut frames = Vec::with_capacity(plain.len() + 16);
            self.binding.outward(plain, &mut frames);
            self.pass(&frames, wire);
        }
    }

    fn close(&mut self, wire: &mut Vec<u8>) {
        let mut frames = Vec::new();
        self.end(Some(CloseCode::NORMAL), "", &mut frames);
        self.pass(&frames, wire);
        if let Some(below) = &mut self.below {
            below.close(wire);
        }
    }

    fn channel(&self) -> Option<&Channel> {
        self.below.as_ref().and_then(CoreLayer::channel)
    }

    fn is_open(&self) -> bool {
        self.below.as_ref().is_none_or(CoreLayer::is_open)
    }

    fn is_secure(&self) -> bool {
        self.below.as_ref().is_some_and(CoreLayer::is_secure)
    }

    fn is_over(&self) -> bool {
        self.over || self.below.as_ref().is_some_and(CoreLayer::is_over)
    }
}

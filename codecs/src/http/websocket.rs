//! WebSocket (RFC 6455): the frames, as a server reads and writes them. No extensions.
//!
//! [`Decoder`] is incremental: however the bytes are cut, the same messages come out, or the same [`Failure`].

use super::limits::WS_CONTROL;
use arrayvec::ArrayVec;

/// What is spoken over a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoken {
    /// IRC; in binary messages or in text.
    #[cfg(feature = "irc")]
    Irc {
        /// Binary messages are sent.
        binary: bool,
    },
    /// XMPP.
    #[cfg(feature = "xmpp")]
    Xmpp,
}

/// Why a WebSocket ends: the code of its close frame (§7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// Done.
    pub const NORMAL: CloseCode = CloseCode(1000);
    /// The server stops, or the page is left.
    pub const GOING_AWAY: CloseCode = CloseCode(1001);
    /// The frames break the protocol.
    pub const PROTOCOL: CloseCode = CloseCode(1002);
    /// A message of a type that is not spoken here.
    pub const UNSUPPORTED: CloseCode = CloseCode(1003);
    /// The content does not fit its type: text that is no UTF-8.
    pub const INVALID: CloseCode = CloseCode(1007);
    /// The message is too long.
    pub const TOO_LONG: CloseCode = CloseCode(1009);

    /// True: it may stand in a close frame (§7.4).
    #[must_use]
    pub fn may_be_sent(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

/// Why the peer's frames cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What the peer is told.
    pub code: CloseCode,
    /// Why, for people and logs.
    pub why: &'static str,
}

const fn broken(why: &'static str) -> Failure {
    Failure { code: CloseCode::PROTOCOL, why }
}

/// What a frame carries (§5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// More of a message.
    Continuation = 0,
    /// Text, or its beginning.
    Text = 1,
    /// Bytes, or their beginning.
    Binary = 2,
    /// The end.
    Close = 8,
    /// Are you there?
    Ping = 9,
    /// I am.
    Pong = 10,
}

impl Opcode {
    fn from_bits(bits: u8) -> Result<Opcode, Failure> {
        Ok(match bits {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => return Err(broken("a frame has an unknown opcode")),
        })
    }

    fn is_control(self) -> bool {
        self as u8 >= 8
    }
}

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A whole message of text.
    Text(String),
    /// A whole message of bytes.
    Binary(Vec<u8>),
    /// To be answered with a pong of the same content.
    Ping(ArrayVec<u8, WS_CONTROL>),
    /// Nothing to be done.
    Pong,
    /// The peer's last word; `None`: without a code. To be answered with the same.
    Close(Option<CloseCode>),
}

/// A frame whose payload is being read.
#[derive(Clone, Copy, Debug)]
struct Frame {
    last: bool,
    opcode: Opcode,
    mask: [u8; 4],
    left: u64,
    /// How many bytes of the payload came, modulo four.
    phase: usize,
}

/// Reads frames.
#[derive(Debug)]
pub struct Decoder {
    /// Most bytes of a message; above: [`CloseCode::TOO_LONG`].
    limit: usize,
    header: ArrayVec<u8, 14>,
    frame: Option<Frame>,
    /// The type of the message under way.
    kind: Option<Opcode>,
    message: Vec<u8>,
    control: ArrayVec<u8, WS_CONTROL>,
}

impl Decoder {
    /// A decoder of messages of at most `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Decoder {
        Decoder {
            limit,
            header: ArrayVec::new(),
            frame: None,
            kind: None,
            message: Vec::new(),
            control: ArrayVec::new(),
        }
    }

    /// Takes bytes from the front until something is whole. Without an event it took all there were.
    ///
    /// # Errors
    /// A [`Failure`], for good.
    pub fn next(&mut self, bytes: &[u8]) -> Result<(Option<Event>, usize), Failure> {
        let mut at = 0;
        loop {
            let Some(mut frame) = self.frame else {
                let Some(&byte) = bytes.get(at) else { return Ok((None, at)) };
                at += 1;
                self.header.push(byte);
                self.frame = self.begin()?;
                continue;
            };
            let rest = &bytes[at..];
            let data = &rest[..usize::try_from(frame.left).map_or(rest.len(), |left| left.min(rest.len()))];
            self.take(&frame, data);
            at += data.len();
            frame.left -= data.len() as u64;
            frame.phase = (frame.phase + data.len()) % 4;
            self.frame = Some(frame);
            if frame.left > 0 {
                return Ok((None, at));
            }
            self.frame = None;
            if let Some(event) = self.end(frame)? {
                return Ok((Some(event), at));
            }
        }
    }

    /// Looks at the header as far as it came; checks each byte as soon as it can.
    fn begin(&mut self) -> Result<Option<Frame>, Failure> {
        let header = &self.header;
        let opcode = Opcode::from_bits(header[0] & 0x0f)?;
        let last = header[0] & 0x80 != 0;
        if header[0] & 0x70 != 0 {
            return Err(broken("a frame uses an extension that was not agreed on"));
        }
        if opcode.is_control() && !last {
            return Err(broken("a control frame is fragmented"));
        }
        match (opcode, self.kind) {
            (Opcode::Continuation, None) => return Err(broken("a message begins with a continuation")),
            (Opcode::Text | Opcode::Binary, Some(_)) => {
                return Err(broken("a message begins inside another"));
            }
            _ => {}
        }
        let Some(&second) = header.get(1) else { return Ok(None) };
        if second & 0x80 == 0 {
            return Err(broken("a frame is not masked"));
        }
        let short = second & 0x7f;
        if opcode.is_control() && usize::from(short) > WS_CONTROL {
            return Err(broken("a control frame is too long"));
        }
        let extended = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let Some(length) = header.get(2..2 + extended) else { return Ok(None) };
        let left = match extended {
            0 => u64::from(short),
            _ => length.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        };
        if left >> 63 != 0 || (extended == 2 && left < 126) || (extended == 8 && left <= 0xffff) {
            return Err(broken("the length of a frame is not in its shortest form"));
        }
        if !opcode.is_control() && left > (self.limit - self.message.len()) as u64 {
            return Err(Failure { code: CloseCode::TOO_LONG, why: "the message is too long" });
        }
        let Some(&[a, b, c, d]) = header.get(2 + extended..6 + extended) else { return Ok(None) };
        self.header.clear();
        Ok(Some(Frame { last, opcode, mask: [a, b, c, d], left, phase: 0 }))
    }

    /// Takes a piece of a payload.
    fn take(&mut self, frame: &Frame, data: &[u8]) {
        let mask = frame.mask.iter().cycle().skip(frame.phase);
        let plain = data.iter().zip(mask).map(|(byte, mask)| byte ^ mask);
        if frame.opcode.is_control() {
            self.control.extend(plain);
        } else {
            self.message.extend(plain);
        }
    }

    /// A frame is complete.
    fn end(&mut self, frame: Frame) -> Result<Option<Event>, Failure> {
        match frame.opcode {
            Opcode::Ping => return Ok(Some(Event::Ping(std::mem::take(&mut self.control)))),
            Opcode::Pong => {
                self.control.clear();
                return Ok(Some(Event::Pong));
            }
            Opcode::Close => return closing(&std::mem::take(&mut self.control)).map(Some),
            Opcode::Text | Opcode::Binary => self.kind = Some(frame.opcode),
            Opcode::Continuation => {}
        }
        if !frame.last {
            return Ok(None);
        }
        let message = std::mem::take(&mut self.message);
        if self.kind.take() == Some(Opcode::Binary) {
            return Ok(Some(Event::Binary(message)));
        }
        let no_text = Failure { code: CloseCode::INVALID, why: "a text message is no UTF-8" };
        String::from_utf8(message).map(|text| Some(Event::Text(text))).map_err(|_| no_text)
    }
}

/// The content of a close frame (§5.5.1).
fn closing(payload: &[u8]) -> Result<Event, Failure> {
    let (code, reason) = match payload {
        [] => return Ok(Event::Close(None)),
        [high, low, reason @ ..] => (CloseCode(u16::from_be_bytes([*high, *low])), reason),
        [_] => return Err(broken("a close frame is cut off")),
    };
    if !code.may_be_sent() {
        return Err(broken("a close frame has an impossible code"));
    }
    if std::str::from_utf8(reason).is_err() {
        return Err(Failure { code: CloseCode::INVALID, why: "the reason of a close frame is no UTF-8" });
    }
    Ok(Event::Close(Some(code)))
}

/// Appends a whole, unmasked frame.
pub fn frame(opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
    debug_assert!(!opcode.is_control() || payload.len() <= WS_CONTROL, "control frames are short");
    out.push(0x80 | opcode as u8);
    match payload.len() {
        length @ 0..=125 => out.push(length as u8),
        length @ 126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

/// Appends a close frame; the reason is cut where it does not fit.
pub fn close(code: Option<CloseCode>, why: &str, out: &mut Vec<u8>) {
    let Some(CloseCode(code)) = code else { return frame(Opcode::Close, &[], out) };
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(&why.as_bytes()[..why.floor_char_boundary(WS_CONTROL - 2)]);
    frame(Opcode::Close, &payload, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A masked frame, as clients send them.
    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        frame(Opcode::Binary, payload, &mut plain);
        let header = plain.len() - payload.len();
        plain[0] = first;
        plain[1] |= 0x80;
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        let data: Vec<u8> = payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m).collect();
        [&plain[..header], &mask, &data].concat()
    }

    fn read(stream: &[u8], cut: usize) -> (Vec<Event>, Option<u16>) {
        let (mut decoder, mut events) = (Decoder::new(70_000), Vec::new());
        for chunk in stream.chunks(cut.max(1)) {
            let mut at = 0;
            while at < chunk.len() {
                match decoder.next(&chunk[at..]) {
                    Ok((event, used)) => {
                        at += used;
                        events.extend(event);
                    }
                    Err(failure) => return (events, Some(failure.code.0)),
                }
            }
        }
        (events, None)
    }

    #[test]
    fn the_example_of_the_specification() {
        // RFC 6455 §5.7: a masked "Hello".
        let stream = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(read(&stream, 1), (vec![Event::Text("Hello".to_owned())], None));
        assert_eq!(masked(0x81, b"Hello"), stream);
    }

    #[test]
    fn messages_are_joined_and_control_frames_come_between() {
        let long = vec![b'x'; 66_000];
        let stream = [
            masked(0x01, "h\u{fc}".as_bytes()),
            masked(0x89, b"are you there"),
            masked(0x00, b""),
            masked(0x80, b"!"),
            masked(0x82, &long),
            masked(0x8a, b""),
            masked(0x81, &long[..300]),
            masked(0x88, &[0x03, 0xe8, b'b', b'y', b'e']),
        ]
        .concat();
        let ping = ArrayVec::try_from(&b"are you there"[..]).expect("short");
        let expected = vec![
            Event::Ping(ping),
            Event::Text("h\u{fc}!".to_owned()),
            Event::Binary(long.clone()),
            Event::Pong,
            Event::Text("x".repeat(300)),
            Event::Close(Some(CloseCode::NORMAL)),
        ];
        for cut in [1, 3, 1000, stream.len()] {
            assert_eq!(read(&stream, cut), (expected.clone(), None), "{cut}");
        }
    }

    #[test]
    fn what_breaks_the_protocol_ends_it_with_its_code() {
        let cases: Vec<(&str, Vec<u8>, u16)> = vec![
            ("not masked", vec![0x81, 0x01, b'a'], 1002),
            ("reserved bit", masked(0xc1, b"a"), 1002),
            ("unknown opcode", masked(0x83, b"a"), 1002),
            ("unknown control opcode", masked(0x8b, b"a"), 1002),
            ("fragmented ping", masked(0x09, b"a"), 1002),
            ("long ping", masked(0x89, &[0; 126]), 1002),
            ("stray continuation", masked(0x80, b"a"), 1002),
            ("nested message", [masked(0x01, b"a"), masked(0x81, b"b")].concat(), 1002),
            ("long form of a short length", vec![0x82, 0xfe, 0, 125, 0, 0, 0, 0], 1002),
            ("longest form of a short length", vec![0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff], 1002),
            ("negative length", vec![0x82, 0xff, 0x80, 0, 0, 0, 0, 1, 0, 0], 1002),
            ("too long", vec![0x82, 0xff, 0, 0, 0, 0, 0, 2, 0, 0], 1009),
            ("too long in pieces", [masked(0x02, &[0; 65_000]), masked(0x00, &[0; 5_001])].concat(), 1009),
            ("no UTF-8", masked(0x81, b"\xff"), 1007),
            ("no UTF-8 across frames", [masked(0x01, b"\xc3"), masked(0x80, b"\x28")].concat(), 1007),
            ("half a code", masked(0x88, b"\x03"), 1002),
            ("forbidden code", masked(0x88, b"\x03\xed"), 1002),
            ("unknown code", masked(0x88, b"\x27\x10"), 1002),
            ("reason no UTF-8", masked(0x88, b"\x03\xe8\xff"), 1007),
        ];
        for (what, stream, code) in cases {
            for cut in [1, stream.len()] {
                assert_eq!(read(&stream, cut).1, Some(code), "{what}");
            }
        }
        let split = [masked(0x01, b"\xc3"), masked(0x80, b"\xbc")].concat();
        assert_eq!(read(&split, 2), (vec![Event::Text("\u{fc}".to_owned())], None));
        assert_eq!(read(&masked(0x88, b""), 1), (vec![Event::Close(None)], None));
    }

    #[test]
    fn a_reason_that_does_not_fit_is_cut_between_characters() {
        let mut out = Vec::new();
        close(Some(CloseCode::NORMAL), &"\u{fc}".repeat(100), &mut out);
        assert_eq!(out.len(), 2 + 2 + 122);
        assert!(std::str::from_utf8(&out[4..]).is_ok());
    }

    proptest! {
        /// What is written in frames, cut anyhow, is what was meant.
        #[test]
        fn messages_survive(messages in proptest::collection::vec((any::<bool>(), ".{0,200}"), 0..5), cut in 1usize..300) {
            let mut stream = Vec::new();
            for (text, message) in &messages {
                stream.extend(masked(if *text { 0x81 } else { 0x82 }, message.as_bytes()));
            }
            let expected: Vec<Event> = messages
                .iter()
                .map(|(text, m)| if *text { Event::Text(m.clone()) } else { Event::Binary(m.clone().into_bytes()) })
                .collect();
            prop_assert_eq!(read(&stream, cut), (expected, None));
        }

        /// Any bytes end the same way however they are cut.
        #[test]
        fn cuts_change_nothing(stream in proptest::collection::vec(any::<u8>(), 0..200), cut in 1usize..50) {
            prop_assert_eq!(read(&stream, cut), read(&stream, stream.len()));
        }
    }
}

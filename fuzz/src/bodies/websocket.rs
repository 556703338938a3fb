//! WebSockets: frames, and the streams that IRC and XMPP make of them.

use lavina_codecs::http::socket::Socket;
use lavina_codecs::http::websocket::{Decoder, Event, Failure, Opcode, Spoken, frame};
use lavina_core::limits::Limits;
use lavina_core::projection::{Layer, Reason};

/// Bytes of a message.
const LONGEST: usize = 300;

/// Any bytes as frames: the cuts change nothing, and messages are never longer than allowed. Then the same bytes as
/// the connection of either protocol, and as the content of one message.
pub fn frames(data: &[u8]) {
    let whole = cut(data, data.len().max(1));
    assert_eq!(cut(data, 1), whole, "byte by byte");
    assert_eq!(cut(data, 7), whole, "in sevens");
    for event in &whole.0 {
        match event {
            Event::Text(text) => assert!(text.len() <= LONGEST),
            Event::Binary(bytes) => assert!(bytes.len() <= LONGEST),
            _ => {}
        }
    }
    for spoken in [Spoken::Irc { binary: false }, Spoken::Irc { binary: true }, Spoken::Xmpp] {
        let whole = layer(spoken, data, data.len().max(1));
        assert_eq!(layer(spoken, data, 1), whole, "{spoken:?} byte by byte");
        layer(spoken, &masked(data), 5);
        let mut wire = Vec::new();
        Socket::new(spoken, None, &Limits::SMALL).write(data, &mut wire);
    }
}

/// The messages of a stream that arrives in chunks, and how it ended.
fn cut(data: &[u8], size: usize) -> (Vec<Event>, Option<Failure>) {
    let (mut decoder, mut events) = (Decoder::new(LONGEST), Vec::new());
    for chunk in data.chunks(size) {
        let mut at = 0;
        while at < chunk.len() {
            match decoder.next(&chunk[at..]) {
                Ok((event, used)) => {
                    assert!(used > 0 || event.is_some(), "it goes on");
                    at += used;
                    events.extend(event);
                }
                Err(failure) => return (events, Some(failure)),
            }
        }
    }
    (events, None)
}

/// What the protocol gets, what is answered, and how it ended.
fn layer(spoken: Spoken, data: &[u8], size: usize) -> (Vec<u8>, Vec<u8>, Option<Reason>) {
    let mut socket = Socket::new(spoken, None, &Limits::SMALL);
    let (mut plain, mut answer) = (Vec::new(), Vec::new());
    for chunk in data.chunks(size) {
        if let Err(reason) = socket.read(chunk, &mut plain, &mut answer) {
            return (plain, answer, Some(reason));
        }
    }
    (plain, answer, None)
}

/// One message of a client with this content.
fn masked(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame(Opcode::Text, content, &mut out);
    let header = out.len() - content.len();
    out[1] |= 0x80;
    // A mask of zeros changes nothing.
    out.splice(header..header, [0; 4]);
    out
}

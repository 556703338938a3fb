//! AUTHENTICATE: SASL messages in base64, in pieces of 400 bytes (IRCv3 sasl-3.1).

use data_encoding::BASE64;

use crate::sasl::MAX_MESSAGE;

/// Bytes of one piece; a message whose base64 is a multiple of it ends with a `+`.
pub const PIECE: usize = 400;

/// Puts a client's pieces together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pieces {
    base64: String,
}

/// What a piece led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// More pieces follow.
    More,
    /// A whole message.
    Whole(Vec<u8>),
    /// `*`: the client gives up.
    Abort,
    /// A piece is too long: 905.
    TooLong,
    /// Not base64, or more pieces than any message takes: 904.
    Malformed,
}

impl Pieces {
    /// Takes the next piece. Whatever ends a message leaves nothing behind.
    pub fn push(&mut self, piece: &str) -> Piece {
        if piece == "*" {
            self.base64.clear();
            return Piece::Abort;
        }
        if piece.len() > PIECE {
            self.base64.clear();
            return Piece::TooLong;
        }
        if self.base64.len() > MAX_MESSAGE.div_ceil(3) * 4 {
            self.base64.clear();
            return Piece::Malformed;
        }
        if piece != "+" {
            self.base64.push_str(piece);
            if piece.len() == PIECE {
                return Piece::More;
            }
        }
        let whole = std::mem::take(&mut self.base64);
        BASE64.decode(whole.as_bytes()).map_or(Piece::Malformed, Piece::Whole)
    }
}

/// The pieces of a server's message.
#[must_use]
pub fn pieces(message: &[u8]) -> Vec<String> {
    let base64 = BASE64.encode(message);
    let mut out: Vec<String> =
        base64.as_bytes().chunks(PIECE).map(|piece| String::from_utf8_lossy(piece).into_owned()).collect();
    if base64.len().is_multiple_of(PIECE) {
        out.push("+".to_owned());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn single_pieces() {
        let mut p = Pieces::default();
        assert_eq!(p.push("+"), Piece::Whole(vec![]));
        assert_eq!(p.push("AGE="), Piece::Whole(vec![0, b'a']));
        assert_eq!(p.push("*"), Piece::Abort);
        assert_eq!(p.push("a"), Piece::Malformed);
        assert_eq!(p.push(&"A".repeat(401)), Piece::TooLong);
        assert_eq!(p, Pieces::default());
    }

    #[test]
    fn endless_pieces_stop() {
        let mut p = Pieces::default();
        let n = (0..100).take_while(|_| p.push(&"A".repeat(PIECE)) == Piece::More).count();
        assert!(n < 20);
    }

    proptest! {
        #[test]
        fn round_trip(message in prop::collection::vec(any::<u8>(), 0..1500)) {
            let (mut p, mut got) = (Pieces::default(), None);
            for piece in pieces(&message) {
                prop_assert!(got.is_none());
                match p.push(&piece) {
                    Piece::More => {}
                    other => got = Some(other),
                }
            }
            prop_assert_eq!(got, Some(Piece::Whole(message)));
        }
    }
}

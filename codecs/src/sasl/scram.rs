//! The SCRAM exchange (RFC 5802): the messages and the proof.

use super::derive::Hash;
use super::{Failure, LoginName, Mechanism, ScramKeys, Setup};
use data_encoding::BASE64;
use std::fmt::Write as _;
use subtle::ConstantTimeEq;

/// Longest nonce accepted from a client, in bytes.
const MAX_CLIENT_NONCE: usize = 256;

/// An exchange after the client's first message.
pub(super) struct Scram {
    hash: Hash,
    name: LoginName,
    /// The nonce of both, client's part first.
    nonce: String,
    /// What `c=` must decode to: the GS2 header and the channel binding data.
    binding: Vec<u8>,
    /// `client-first-message-bare`, then also `,server-first-message`.
    transcript: String,
}

impl Scram {
    /// Reads `client-first-message`. `nonce` is the server's part: printable ASCII without comma.
    pub(super) fn first(
        message: &[u8],
        mechanism: Mechanism,
        setup: &Setup,
        nonce: &str,
    ) -> Result<Self, Failure> {
        let text = std::str::from_utf8(message).map_err(|_| Failure::Malformed("not UTF-8"))?;
        let (flag, rest) = text.split_once(',').ok_or(Failure::Malformed("no GS2 header"))?;
        let (authzid, bare) = rest.split_once(',').ok_or(Failure::Malformed("no GS2 header"))?;
        let data = binding_data(flag, mechanism, setup)?;
        let header = &text[..text.len() - bare.len()];
        let mut binding = header.as_bytes().to_vec();
        binding.extend_from_slice(data);

        let mut attributes = bare.split(',');
        let user = match attributes.next() {
            Some(a) if a.starts_with("m=") => return Err(Failure::Extension),
            Some(a) => a.strip_prefix("n=").ok_or(Failure::Malformed("no user name"))?,
            None => return Err(Failure::Malformed("no user name")),
        };
        let client_nonce =
            attributes.next().and_then(|a| a.strip_prefix("r=")).ok_or(Failure::Malformed("no nonce"))?;
        if client_nonce.is_empty() || client_nonce.len() > MAX_CLIENT_NONCE {
            return Err(Failure::Malformed("the nonce is empty or too long"));
        }
        if !client_nonce.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Failure::Malformed("the nonce is not printable"));
        }
        if !attributes.all(is_extension) {
            return Err(Failure::Malformed("an extension is not attr=value"));
        }
        let user = unescape(user)?;
        let name = LoginName::parse(&user, &setup.domain).ok_or(Failure::Malformed("no usable user name"))?;
        if !name.allows(authorisation(authzid)?.as_deref(), &user, &setup.domain) {
            return Err(Failure::InvalidAuthzid);
        }
        Ok(Self {
            hash: mechanism.hash(),
            name,
            nonce: format!("{client_nonce}{nonce}"),
            binding,
            transcript: bare.to_owned(),
        })
    }

    /// Who wants to log in.
    pub(super) fn name(&self) -> &LoginName {
        &self.name
    }

    /// The same, when the exchange is over.
    pub(super) fn into_name(self) -> LoginName {
        self.name
    }

    /// Writes `server-first-message`.
    pub(super) fn challenge(&mut self, keys: &ScramKeys) -> Vec<u8> {
        let start = self.transcript.len() + 1;
        let salt = BASE64.encode(&keys.salt);
        write!(self.transcript, ",r={},s={salt},i={}", self.nonce, keys.iterations)
            .expect("writing to a string cannot fail");
        self.transcript.as_bytes()[start..].to_vec()
    }

    /// Reads `client-final-message` and checks the proof in it; gives `server-final-message`. With `known` false
    /// everything is computed and nothing passes.
    pub(super) fn verify(&self, message: &[u8], keys: &ScramKeys, known: bool) -> Result<Vec<u8>, Failure> {
        let text = std::str::from_utf8(message).map_err(|_| Failure::Malformed("not UTF-8"))?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(Failure::Malformed("no proof"))?;
        let proof =
            BASE64.decode(proof.as_bytes()).map_err(|_| Failure::Malformed("the proof is not base64"))?;
        if proof.len() != self.hash.digest_len() {
            return Err(Failure::Malformed("the proof has a wrong length"));
        }
        self.check_final(without_proof)?;

        let message = format!("{},{without_proof}", self.transcript);
        let signature = self.hash.hmac(&keys.stored_key, message.as_bytes());
        let client_key: Vec<u8> = proof.iter().zip(&signature).map(|(p, s)| p ^ s).collect();
        let fits: bool = self.hash.digest(&client_key).ct_eq(keys.stored_key.as_slice()).into();
        let ours = self.hash.hmac(&keys.server_key, message.as_bytes());
        if fits & known {
            Ok(format!("v={}", BASE64.encode(&ours)).into_bytes())
        } else {
            Err(Failure::NotAuthorized)
        }
    }

    /// `c=…,r=…[,extensions]`.
    fn check_final(&self, text: &str) -> Result<(), Failure> {
        let mut attributes = text.split(',');
        let binding = attributes
            .next()
            .and_then(|a| a.strip_prefix("c="))
            .ok_or(Failure::Malformed("no channel binding"))?;
        let binding = BASE64
            .decode(binding.as_bytes())
            .map_err(|_| Failure::Malformed("the channel binding is not base64"))?;
        let nonce =
            attributes.next().and_then(|a| a.strip_prefix("r=")).ok_or(Failure::Malformed("no nonce"))?;
        if nonce != self.nonce {
            return Err(Failure::Malformed("the nonce is not the one of this exchange"));
        }
        if !attributes.all(is_extension) {
            return Err(Failure::Malformed("an extension is not attr=value"));
        }
        if binding.ct_eq(&self.binding).into() { Ok(()) } else { Err(Failure::BindingMismatch) }
    }
}

/// What the GS2 flag binds to: nothing for `n` and (where nothing is offered) `y`, data of the connection for `p=…`.
fn binding_data<'a>(flag: &str, mechanism: Mechanism, setup: &'a Setup) -> Result<&'a [u8], Failure> {
    if let Some(name) = flag.strip_prefix("p=") {
        let data = setup.channel.data(name).filter(|_| mechanism.is_plus());
        return data.ok_or(Failure::BindingUnavailable);
    }
    if mechanism.is_plus() {
        return Err(Failure::BindingUnavailable);
    }
    match flag {
        "n" => Ok(&[]),
        "y" if setup.channel.is_empty() => Ok(&[]),
        "y" => Err(Failure::Downgraded),
        _ => Err(Failure::Malformed("an unknown channel binding flag")),
    }
}

/// `a=saslname`, or nothing.
fn authorisation(field: &str) -> Result<Option<String>, Failure> {
    if field.is_empty() {
        return Ok(None);
    }
    let name = field.strip_prefix("a=").ok_or(Failure::Malformed("an unknown GS2 header"))?;
    unescape(name).map(Some)
}

/// `saslname` of RFC 5802 §7: `=2C` is a comma, `=3D` an equals sign, no other `=`.
fn unescape(name: &str) -> Result<String, Failure> {
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some((before, after)) = rest.split_once('=') {
        out.push_str(before);
        let (c, tail) = if let Some(tail) = after.strip_prefix("2C") {
            (',', tail)
        } else if let Some(tail) = after.strip_prefix("3D") {
            ('=', tail)
        } else {
            return Err(Failure::Malformed("an escape in the user name is neither =2C nor =3D"));
        };
        out.push(c);
        rest = tail;
    }
    out.push_str(rest);
    Ok(out)
}

/// `attr=value`: a letter, an equals sign and at least one character.
fn is_extension(attribute: &str) -> bool {
    let bytes = attribute.as_bytes();
    bytes.len() > 2 && bytes[0].is_ascii_alphabetic() && bytes[1] == b'='
}

#[cfg(test)]
mod tests {
    use super::super::{ChannelBindings, Password, derive_keys};
    use super::*;
    use proptest::prelude::*;
    use smol_str::SmolStr;

    fn setup() -> Setup {
        let channel = ChannelBindings::default();
        Setup {
            domain: SmolStr::new("example.org"),
            channel,
            nonce: [0; 24],
            secret: [1; 32],
            iterations: 4096,
        }
    }

    struct Vector {
        mechanism: Mechanism,
        salt: &'static str,
        server_nonce: &'static str,
        first: &'static str,
        challenge: &'static str,
        last: &'static str,
        proof: &'static str,
    }

    /// RFC 5802 §5 and RFC 7677 §3: user `user`, password `pencil`, 4096 iterations.
    const VECTORS: [Vector; 2] = [
        Vector {
            mechanism: Mechanism::ScramSha1,
            salt: "QSXCR+Q6sek8bf92",
            server_nonce: "3rfcNHYJY1ZVvWVs7j",
            first: "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
            challenge: "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
            last: "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
            proof: "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
        },
        Vector {
            mechanism: Mechanism::ScramSha256,
            salt: "W22ZaJ0SNY7soEsUEjb6gQ==",
            server_nonce: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
            first: "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
            challenge: "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            last: "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                   p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            proof: "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        },
    ];

    fn keys(vector: &Vector) -> ScramKeys {
        let salt = BASE64.decode(vector.salt.as_bytes()).expect("base64");
        derive_keys(vector.mechanism.hash(), &Password::new("pencil").expect("ASCII"), &salt, 4096)
    }

    fn begin(vector: &Vector) -> Scram {
        Scram::first(vector.first.as_bytes(), vector.mechanism, &setup(), vector.server_nonce)
            .unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn vectors_of_the_rfcs() {
        for vector in &VECTORS {
            let mut scram = begin(vector);
            let keys = keys(vector);
            assert_eq!(scram.name().account, "user");
            assert_eq!(scram.challenge(&keys), vector.challenge.as_bytes());
            assert_eq!(
                scram.verify(vector.last.as_bytes(), &keys, true),
                Ok(vector.proof.as_bytes().to_vec())
            );
            assert_eq!(scram.verify(vector.last.as_bytes(), &keys, false), Err(Failure::NotAuthorized));
        }
    }

    #[test]
    fn every_changed_character_of_the_last_message_fails() {
        let vector = &VECTORS[1];
        let mut scram = begin(vector);
        let keys = keys(vector);
        scram.challenge(&keys);
        for at in 0..vector.last.len() {
            let mut bytes = vector.last.as_bytes().to_vec();
            bytes[at] ^= 1;
            assert!(scram.verify(&bytes, &keys, true).is_err(), "byte {at}");
        }
    }

    fn refused(first: &str) -> Failure {
        match Scram::first(first.as_bytes(), Mechanism::ScramSha256, &setup(), "s") {
            Ok(_) => panic!("accepted: {first}"),
            Err(failure) => failure,
        }
    }

    #[test]
    fn malformed_first_messages_are_named() {
        assert!(matches!(refused(""), Failure::Malformed(_)));
        assert!(matches!(refused("n,"), Failure::Malformed(_)));
        assert!(matches!(refused("n,,"), Failure::Malformed(_)));
        assert!(matches!(refused("n,,n=user"), Failure::Malformed(_)));
        assert!(matches!(refused("n,,n=,r=x"), Failure::Malformed(_)));
        assert!(matches!(refused("n,,n=user,r="), Failure::Malformed(_)));
        assert!(matches!(refused("n,,n=user,r=a b"), Failure::Malformed(_)));
        assert!(matches!(refused("n,,n=us=41er,r=x"), Failure::Malformed(_)));
        assert!(matches!(refused("n,,r=x,n=user"), Failure::Malformed(_)));
        assert!(matches!(refused("n,,n=user,r=x,="), Failure::Malformed(_)));
        assert!(matches!(refused("q,,n=user,r=x"), Failure::Malformed(_)));
        assert!(matches!(refused("n,user,n=user,r=x"), Failure::Malformed(_)));
        assert_eq!(refused("n,,m=new,n=user,r=x"), Failure::Extension);
        assert_eq!(refused("n,a=bob,n=user,r=x"), Failure::InvalidAuthzid);
        assert_eq!(refused("p=tls-exporter,,n=user,r=x"), Failure::BindingUnavailable);
    }

    #[test]
    fn names_are_unescaped_and_extensions_pass() {
        let scram = Scram::first(b"n,,n=a=2Cb=3Dc,r=x,z=1", Mechanism::ScramSha256, &setup(), "s").ok();
        assert_eq!(scram.map(|s| s.name().account.to_string()).as_deref(), Some("a,b=c"));
    }

    proptest! {
        #[test]
        fn no_message_panics(first in any::<Vec<u8>>(), last in any::<Vec<u8>>()) {
            let _ = Scram::first(&first, Mechanism::ScramSha256, &setup(), "s");
            let scram = begin(&VECTORS[0]);
            let _ = scram.verify(&last, &keys(&VECTORS[0]), true);
        }
    }
}

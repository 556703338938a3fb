#![allow(clippy::unwrap_used)]

use super::*;
use data_encoding::BASE64;
use proptest::prelude::*;

const NONCE: [u8; NONCE_LEN] = [9; NONCE_LEN];
const SALT: [u8; SALT_LEN] = [4; SALT_LEN];

fn tls() -> ChannelBindings {
    ChannelBindings { exporter: Some([5; 32]), end_point: Some([6u8; 32].as_slice().try_into().unwrap()) }
}

fn setup(channel: ChannelBindings) -> Setup {
    Setup {
        domain: SmolStr::new("example.org"),
        channel,
        nonce: NONCE,
        secret: [8; 32],
        iterations: MIN_ITERATIONS,
    }
}

fn password(text: &str) -> Password {
    Password::new(text).unwrap()
}

fn stored() -> Credential {
    derive_credential(&password("pencil"), SALT, MIN_ITERATIONS)
}

/// A SCRAM client: what RFC 5802 says it computes, written apart from the server's code.
struct Client {
    hash: Hash,
    header: String,
    binding: Vec<u8>,
    bare: String,
}

impl Client {
    fn new(mechanism: Mechanism, flag: &str, authzid: &str, user: &str, binding: &[u8]) -> Self {
        let hash = mechanism.hash();
        let header = format!("{flag},{authzid},");
        Self { hash, header, binding: binding.to_vec(), bare: format!("n={user},r=abcdef") }
    }

    fn first(&self) -> Vec<u8> {
        format!("{}{}", self.header, self.bare).into_bytes()
    }

    /// The last message and the server proof to expect.
    fn last(&self, challenge: &[u8], password: &Password) -> (Vec<u8>, Vec<u8>) {
        let challenge = std::str::from_utf8(challenge).unwrap();
        let mut fields = challenge.split(',').map(|f| &f[2..]);
        let (nonce, salt, count) = (fields.next().unwrap(), fields.next().unwrap(), fields.next().unwrap());
        let salt = BASE64.decode(salt.as_bytes()).unwrap();
        let mut salted = vec![0u8; self.hash.digest_len()];
        let rounds = count.parse().unwrap();
        match self.hash {
            Hash::Sha256 => {
                pbkdf2::pbkdf2_hmac::<sha2::Sha256>(password.expose().as_bytes(), &salt, rounds, &mut salted);
            }
            Hash::Sha1 => {
                pbkdf2::pbkdf2_hmac::<sha1::Sha1>(password.expose().as_bytes(), &salt, rounds, &mut salted)
            }
        }
        let client_key = self.hash.hmac(&salted, b"Client Key");
        let mut bound = self.header.clone().into_bytes();
        bound.extend_from_slice(&self.binding);
        let start = format!("c={},r={nonce}", BASE64.encode(&bound));
        let message = format!("{},{challenge},{start}", self.bare);
        let signature = self.hash.hmac(&self.hash.digest(&client_key), message.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
        let server = self.hash.hmac(&self.hash.hmac(&salted, b"Server Key"), message.as_bytes());
        (
            format!("{start},p={}", BASE64.encode(&proof)).into_bytes(),
            format!("v={}", BASE64.encode(&server)).into_bytes(),
        )
    }
}

/// Runs a SCRAM exchange to its end.
fn scram(
    mechanism: Mechanism,
    channel: ChannelBindings,
    client: &Client,
    found: Option<&Credential>,
    pw: &str,
) -> Step {
    let (mut sasl, step) = Sasl::start(mechanism, Some(&client.first()), setup(channel));
    let Step::NeedCredential(_) = step else { return step };
    let Step::Challenge(challenge) = sasl.credential(found) else { panic!("no challenge") };
    let (last, proof) = client.last(&challenge, &password(pw));
    let step = sasl.respond(&last);
    if let Step::Success { additional, .. } = &step {
        assert_eq!(additional.as_deref(), Some(proof.as_slice()));
        assert_eq!(sasl.respond(b""), Step::Failure(Failure::OutOfOrder), "nothing follows success");
    }
    step
}

fn plain(message: &[u8], found: Option<&Credential>) -> Step {
    let (mut sasl, step) = Sasl::start(Mechanism::Plain, Some(message), setup(ChannelBindings::default()));
    let Step::NeedCredential(_) = step else { return step };
    let Step::NeedDerive(job) = sasl.credential(found) else { panic!("no job") };
    sasl.derived(&job.run())
}

fn account(step: &Step) -> Option<&str> {
    match step {
        Step::Success { name, .. } => Some(&name.account),
        _ => None,
    }
}

#[test]
fn plain_with_right_and_wrong_password() {
    assert_eq!(account(&plain(b"\0Alice\0pencil", Some(&stored()))), Some("alice"));
    assert_eq!(account(&plain(b"alice\0alice\0pencil", Some(&stored()))), Some("alice"));
    assert_eq!(plain(b"\0alice\0pencils", Some(&stored())), Step::Failure(Failure::NotAuthorized));
    assert_eq!(plain(b"\0alice\0pencil", None), Step::Failure(Failure::NotAuthorized));
    assert_eq!(plain(b"bob\0alice\0pencil", Some(&stored())), Step::Failure(Failure::InvalidAuthzid));
    for malformed in [&b""[..], b"alice", b"\0alice", b"\0alice\0pen\0cil", b"\0\xff\0pencil", b"\0\0pencil"]
    {
        assert!(matches!(plain(malformed, None), Step::Failure(Failure::Malformed(_))), "{malformed:?}");
    }
}

#[test]
fn all_scram_mechanisms_succeed() {
    for mechanism in Mechanism::ALL.into_iter().filter(|m| *m != Mechanism::Plain) {
        let cases: &[(&str, &[u8])] = if mechanism.is_plus() {
            &[("p=tls-exporter", &[5; 32]), ("p=tls-server-end-point", &[6; 32])]
        } else {
            &[("n", &[])]
        };
        for (flag, data) in cases {
            let client = Client::new(mechanism, flag, "a=alice", "Alice", data);
            assert_eq!(account(&scram(mechanism, tls(), &client, Some(&stored()), "pencil")), Some("alice"));
            let wrong = scram(mechanism, tls(), &client, Some(&stored()), "pencils");
            assert_eq!(wrong, Step::Failure(Failure::NotAuthorized));
        }
    }
}

#[test]
fn a_removed_plus_is_noticed() {
    let client = Client::new(Mechanism::ScramSha256, "y", "", "alice", &[]);
    let bound = scram(Mechanism::ScramSha256, tls(), &client, Some(&stored()), "pencil");
    assert_eq!(bound, Step::Failure(Failure::Downgraded));
    let unbound =
        scram(Mechanism::ScramSha256, ChannelBindings::default(), &client, Some(&stored()), "pencil");
    assert_eq!(account(&unbound), Some("alice"), "without TLS `y` is the truth");
}

#[test]
fn a_middleman_is_noticed() {
    let mechanism = Mechanism::ScramSha256Plus;
    let client = Client::new(mechanism, "p=tls-exporter", "", "alice", &[77; 32]);
    let step = scram(mechanism, tls(), &client, Some(&stored()), "pencil");
    assert_eq!(step, Step::Failure(Failure::BindingMismatch));
}

#[test]
fn flag_and_mechanism_must_agree() {
    for (mechanism, flag, channel) in [
        (Mechanism::ScramSha256Plus, "n", tls()),
        (Mechanism::ScramSha256Plus, "y", tls()),
        (Mechanism::ScramSha256, "p=tls-exporter", tls()),
        (Mechanism::ScramSha256Plus, "p=tls-unique", tls()),
        (Mechanism::ScramSha256Plus, "p=tls-exporter", ChannelBindings::default()),
    ] {
        let client = Client::new(mechanism, flag, "", "alice", &[5; 32]);
        let step = scram(mechanism, channel, &client, Some(&stored()), "pencil");
        assert_eq!(step, Step::Failure(Failure::BindingUnavailable), "{mechanism:?} {flag}");
    }
}

#[test]
fn an_unknown_account_looks_like_a_wrong_password() {
    let client = Client::new(Mechanism::ScramSha256, "n", "", "nobody", &[]);
    let challenge = || {
        let (mut sasl, _) =
            Sasl::start(Mechanism::ScramSha256, Some(&client.first()), setup(ChannelBindings::default()));
        sasl.credential(None)
    };
    let Step::Challenge(once) = challenge() else { panic!("no challenge") };
    assert_eq!(challenge(), Step::Challenge(once.clone()), "the same salt each time");
    let (mut real, _) =
        Sasl::start(Mechanism::ScramSha256, Some(&client.first()), setup(ChannelBindings::default()));
    let Step::Challenge(known) = real.credential(Some(&stored())) else { panic!("no challenge") };
    assert_eq!(once.len(), known.len());
    let step = scram(Mechanism::ScramSha256, ChannelBindings::default(), &client, None, "pencil");
    assert_eq!(step, Step::Failure(Failure::NotAuthorized));
}

#[test]
fn both_hashes_tell_an_unknown_account_the_same_salt_as_a_known_one_would() {
    let keys = |hash| ScramKeys::fake(hash, &[8; 32], "nobody", 4096);
    assert_eq!(keys(Hash::Sha1).salt, keys(Hash::Sha256).salt);
    assert_eq!(stored().sha1.salt, stored().sha256.salt);
    assert_ne!(keys(Hash::Sha1).salt, ScramKeys::fake(Hash::Sha1, &[8; 32], "somebody", 4096).salt);
}

#[test]
fn without_initial_response_the_server_asks_for_it() {
    let (mut sasl, step) = Sasl::start(Mechanism::Plain, None, setup(ChannelBindings::default()));
    assert_eq!(step, Step::Challenge(Vec::new()));
    assert!(matches!(sasl.respond(b"\0alice\0pencil"), Step::NeedCredential(_)));
}

#[test]
fn answers_out_of_order_end_the_exchange() {
    let fresh = || Sasl::start(Mechanism::Plain, None, setup(ChannelBindings::default())).0;
    let keys = stored().sha256;
    let out_of_order = Step::Failure(Failure::OutOfOrder);
    assert_eq!(fresh().credential(None), out_of_order);
    assert_eq!(fresh().derived(&keys), out_of_order);
    let mut sasl = fresh();
    sasl.respond(b"\0alice\0pencil");
    assert_eq!(sasl.respond(b"\0alice\0pencil"), out_of_order);
    assert_eq!(sasl.credential(Some(&stored())), out_of_order, "ended for good");
}

#[test]
fn long_messages_are_refused() {
    let (_, step) =
        Sasl::start(Mechanism::Plain, Some(&[b'x'; MAX_MESSAGE + 1]), setup(ChannelBindings::default()));
    assert_eq!(step, Step::Failure(Failure::TooLong));
}

#[test]
fn names_and_offers() {
    for mechanism in Mechanism::ALL {
        assert_eq!(Mechanism::from_name(mechanism.name()), Some(mechanism));
    }
    assert_eq!(Mechanism::from_name("scram-sha-256"), Some(Mechanism::ScramSha256));
    assert_eq!(Mechanism::from_name("LOGIN"), None);
    assert!(Mechanism::offered(&ChannelBindings::default()).all(|m| !m.is_plus()));
    assert_eq!(Mechanism::offered(&tls()).count(), 5);
    let types: Vec<_> = tls().types().map(BindingType::name).collect();
    assert_eq!(types, ["tls-exporter", "tls-server-end-point"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_sequence_of_answers_panics(
        mechanism in 0usize..5,
        acts in proptest::collection::vec((0u8..4, any::<Vec<u8>>()), 0..6),
    ) {
        let (mut sasl, _) = Sasl::start(Mechanism::ALL[mechanism], None, setup(tls()));
        let keys = ScramKeys::fake(Hash::Sha256, &[0; 32], "x", 1);
        for (act, bytes) in acts {
            let step = match act {
                0 => sasl.respond(&bytes),
                1 => sasl.respond(b"p=tls-exporter,,n=alice,r=x"),
                2 => sasl.credential(None),
                _ => sasl.derived(&keys),
            };
            let success = matches!(step, Step::Success { .. });
            prop_assert!(!success, "nobody logs in without a credential");
        }
    }

    #[test]
    fn any_name_and_password_of_a_client_fit(user in "[a-z=,]{1,12}", text in "[ -~]{1,20}") {
        let escaped = user.replace('=', "=3D").replace(',', "=2C");
        let credential = derive_credential(&password(&text), SALT, MIN_ITERATIONS);
        let client = Client::new(Mechanism::ScramSha1, "n", "", &escaped, &[]);
        let step = scram(Mechanism::ScramSha1, ChannelBindings::default(), &client, Some(&credential), &text);
        prop_assert_eq!(account(&step), Some(user.as_str()));
    }
}

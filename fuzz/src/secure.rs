//! Bodies for what outsiders reach first: SASL, TLS, the PROXY header, the control socket; and for what the operator
//! writes: configuration and command line.
//!
//! Each takes arbitrary bytes and asserts what must hold for all of them. Ordinary tests run them too.

use crate::input::Input;
use lavina_codecs::control::{Answer, Client, Request};
use lavina_codecs::sasl::{
    ChannelBindings, Credential, Failure, Mechanism, Password, Sasl, Setup, Step, derive_credential,
};
use lavina_codecs::tls::{Alpn, Clock, Identity, TlsConfig, TlsError, TlsLayer, ring};
use lavina_codecs::{cli, config, proxy};
use std::ffi::OsString;
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// The password of the only account there is in [`sasl`].
const PASSWORD: &str = "pencil";

/// Any exchange: whoever gets in knew the password.
pub fn sasl(data: &[u8]) {
    static STORED: OnceLock<Credential> = OnceLock::new();
    let stored = STORED
        .get_or_init(|| derive_credential(&Password::new(PASSWORD).expect("plain ASCII"), [1; 16], 4096));
    let mut input = Input::new(data);
    let mechanism = Mechanism::ALL[usize::from(input.byte()) % Mechanism::ALL.len()];
    let channel = match input.byte() % 2 {
        0 => ChannelBindings::default(),
        _ => ChannelBindings { exporter: Some([2; 32]), end_point: None },
    };
    let setup =
        Setup { domain: "localhost".into(), channel, nonce: [3; 24], secret: [4; 32], iterations: 4096 };
    let (mut exchange, mut step) = Sasl::start(mechanism, None, setup);
    let mut told_password = false;
    for _ in 0..8 {
        step = match step {
            Step::Challenge(_) => {
                let message = input.piece();
                told_password |= contains(message, PASSWORD.as_bytes());
                exchange.respond(message)
            }
            Step::NeedCredential(name) => exchange.credential((name.account == "alice").then_some(stored)),
            // One that is made up may be answered at once: running it would only cost time.
            Step::NeedDerive(job) if job.salt == stored.sha256.salt => exchange.derived(&job.run()),
            Step::NeedDerive(_) => exchange.derived(&stored.sha256),
            Step::Success { name, .. } => {
                assert!(mechanism == Mechanism::Plain && told_password, "nobody guesses a SCRAM proof");
                assert_eq!(name.account, "alice");
                return;
            }
            Step::Failure(failure) => {
                assert_ne!(failure, Failure::OutOfOrder, "the caller kept the order");
                assert_eq!(exchange.respond(b""), Step::Failure(Failure::OutOfOrder), "over is over");
                return;
            }
        };
    }
}

/// Any bytes as a PROXY header: what is found does not depend on how they arrive.
pub fn proxy_header(data: &[u8]) {
    let whole = proxy::parse(data);
    if let Ok(Some(header)) = whole {
        assert!(header.len <= data.len());
        assert_eq!(proxy::parse(&data[..header.len]), whole, "what follows does not matter");
    }
    for cut in 0..data.len().min(300) {
        match proxy::parse(&data[..cut]) {
            Ok(None) => {}
            early => {
                assert_eq!(early, whole, "more bytes change no verdict");
                break;
            }
        }
    }
    assert!(
        data.len() < proxy::MAX_V2 || !matches!(whole, Ok(None)),
        "it never waits for more than the longest"
    );
}

/// Any bytes to a TLS server: an error or silence, the same however they are cut; never plain bytes.
pub fn tls(data: &[u8]) {
    static CONFIG: OnceLock<Arc<TlsConfig>> = OnceLock::new();
    let config = CONFIG.get_or_init(|| {
        let certificate = include_bytes!("../fixtures/certificate.pem");
        let identity =
            Identity::from_pem(certificate, include_bytes!("../fixtures/key.pem")).expect("a fixture");
        let now = || 1_795_564_800;
        Arc::new(TlsConfig::new(&identity, Alpn::Irc, ring(), Clock(now)).expect("a fixture"))
    });
    let outcome = |cut: usize| {
        let mut layer = TlsLayer::new(config.clone()).expect("the configuration is good");
        let (mut plain, mut wire) = (Vec::new(), Vec::new());
        let mut outcome = Ok(());
        for chunk in data.chunks(cut.max(1)) {
            outcome = layer.read(chunk, &mut plain, &mut wire).map(|_| ());
            if outcome.is_err() {
                break;
            }
        }
        assert!(plain.is_empty(), "no handshake can be completed by accident");
        assert!(!matches!(outcome, Err(TlsError::Internal(_))), "{outcome:?}");
        outcome.map_err(|e| std::mem::discriminant(&e))
    };
    assert_eq!(outcome(data.len()), outcome(7));
}

/// Any bytes at either end of the control socket.
pub fn control(data: &[u8]) {
    for line in data.split_inclusive(|b| *b == b'\n') {
        if let Ok(request) = Request::from_line(line) {
            assert_eq!(Request::from_line(&request.to_line()), Ok(request));
        }
        if let Ok(answer) = Answer::from_line(line) {
            assert_eq!(Answer::from_line(&answer.to_line()), Ok(answer));
        }
    }
    let (mut client, _) = Client::new(&cli::Admin::UserList, None, Path::new("/")).expect("it needs nothing");
    let progress = client.received(data);
    assert!(progress.text.chars().all(|c| !c.is_control() || c == '\n' || c == '\t'), "a terminal is safe");
}

/// Any text as a configuration file: every complaint has a place in it, and an accepted file means the same twice.
pub fn configuration(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let parsed = config::parse("fuzz.toml", &text);
    let lines = text.split('\n').count();
    for diagnostic in &parsed.diagnostics {
        assert!((1..=lines).contains(&diagnostic.line), "{diagnostic}");
        assert!(diagnostic.column >= 1);
    }
    assert_eq!(config::parse("fuzz.toml", &text).config, parsed.config);
}

/// Any words as a command line.
pub fn command_line(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let words = text.split('\n').map(OsString::from);
    if let Err(error) = cli::parse("lavina", words) {
        assert!(!error.hint.is_empty(), "every mistake has a way out");
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|w| w == needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn seeds() {
        sasl(b"\x04\x00\x00\x0e\x00alice\0pencil");
        sasl(b"\x02\x00\x00\x11n,,n=alice,r=abcd");
        sasl(b"\x00\x01\x00\x1ep=tls-exporter,,n=alice,r=abcd");
        proxy_header(b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 6667\r\nNICK alice\r\n");
        proxy_header(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c");
        tls(b"NICK alice\r\n");
        tls(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00");
        control(&Request::Status.to_line());
        configuration(config::example().as_bytes());
        command_line(b"user\nadd\nalice\n--admin");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_bytes(data in proptest::collection::vec(any::<u8>(), 0..400)) {
            sasl(&data);
            proxy_header(&data);
            tls(&data);
            control(&data);
            configuration(&data);
            command_line(&data);
        }
    }
}

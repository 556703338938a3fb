//! The data directory: secret, certificate, control socket, store. Its owner's alone.

use crate::{launch::Trouble, places};
use lavina_codecs::{cli::Exit, config::Config, settings::Settings};
use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// An open data directory.
pub(crate) struct Home(PathBuf);

impl Home {
    pub fn open(config: &Config) -> Result<Home, Trouble> {
        Home::at(config.data_dir.as_ref().map_or_else(places::data, PathBuf::from))
    }

    /// One that is thrown away.
    pub fn scratch() -> Result<Home, Trouble> {
        Home::at(std::env::temp_dir().join(format!("lavina-self-test-{}", std::process::id())))
    }

    fn at(path: PathBuf) -> Result<Home, Trouble> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.map_err(|e| Trouble::io(format!("cannot make the data directory {}", path.display()), &e))?;
        let path = path.canonicalize().map_err(|e| Trouble::io(path.display(), &e))?;
        Ok(Home(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn socket(&self) -> PathBuf {
        self.0.join("control.sock")
    }

    /// Thirty-two bytes from the system.
    pub fn seed(&self) -> Result<[u8; 32], Trouble> {
        let mut seed = [0; 32];
        let filled = getrandom::fill(&mut seed);
        filled.map(|()| seed).map_err(|e| Trouble(Exit::Software, format!("no randomness: {e}")))
    }

    /// The settings that a configuration means here: with the server's secret and its certificate.
    pub fn settings(&self, config: &Config, shards: u8) -> Result<Settings, Trouble> {
        let settings = Settings::new(config, shards, self.secret()?);
        #[cfg(all(feature = "tls", any(feature = "irc", feature = "xmpp", feature = "http")))]
        let settings = {
            use lavina_codecs::tls::{Clock, Identity, ring};
            let (certificate, key) = self.certificate(config)?;
            let bad = |e: &dyn std::fmt::Display| Trouble(Exit::Config, format!("certificate: {e}"));
            let identity = Identity::from_pem(&certificate, &key).map_err(|e| bad(&e))?;
            settings.with_tls(&identity, &ring(), Clock(crate::clock::unix_seconds)).map_err(|e| bad(&e))?
        };
        Ok(settings)
    }

    fn secret(&self) -> Result<[u8; 32], Trouble> {
        let path = self.0.join("secret");
        match fs::read(&path) {
            Ok(bytes) => bytes.try_into().map_err(|_| {
                Trouble(
                    Exit::Data,
                    format!("{} must hold 32 bytes; restore it from a backup", path.display()),
                )
            }),
            Err(e) if e.kind() == ErrorKind::NotFound => {
                let secret = self.seed()?;
                write_private(&path, &secret)?;
                Ok(secret)
            }
            Err(e) => Err(Trouble::io(path.display(), &e)),
        }
    }

    /// The configured certificate and key, or self-made ones, made at the first start.
    #[cfg(all(feature = "tls", any(feature = "irc", feature = "xmpp", feature = "http")))]
    fn certificate(&self, config: &Config) -> Result<(Vec<u8>, Vec<u8>), Trouble> {
        let read = |path: &Path| fs::read(path).map_err(|e| Trouble::io(path.display(), &e));
        if let (Some(certificate), Some(key)) = (&config.tls.certificate, &config.tls.key) {
            return Ok((read(Path::new(certificate))?, read(Path::new(key))?));
        }
        let (certificate, key) = (self.0.join("certificate.pem"), self.0.join("key.pem"));
        if !certificate.exists() || !key.exists() {
            let domain = &config.domain;
            let mut names = vec![domain.clone(), format!("*.{domain}")];
            if domain != "localhost" {
                names.push("localhost".to_owned());
            }
            let made = rcgen::generate_simple_self_signed(names)
                .map_err(|e| Trouble(Exit::Software, format!("cannot make a certificate: {e}")))?;
            write_private(&key, made.signing_key.serialize_pem().as_bytes())?;
            write_private(&certificate, made.cert.pem().as_bytes())?;
        }
        Ok((read(&certificate)?, read(&key)?))
    }
}

/// Writes a file for its owner only.
fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Trouble> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut f| f.write_all(bytes)).map_err(|e| Trouble::io(path.display(), &e))
}

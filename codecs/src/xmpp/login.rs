//! Logging in by SASL (RFC 6120 §6), over the one implementation that all protocols share.

use crate::job::{Done, Job};
use crate::layer::bindings;
use crate::sasl::{Credential, LoginName, Mechanism, Sasl, Setup, Step};
use crate::session::Cx;
use crate::xmpp::address::user_name;
use crate::xmpp::error::StreamCondition;
use crate::xmpp::ns;
use crate::xmpp::sasl2::Wishes;
use crate::xmpp::session::Xmpp;
use crate::xmpp::writer::Writer;
use crate::xmpp::xml::Element;
use data_encoding::BASE64;
use lavina_core::log::{Level, Log};
use lavina_core::name::User;
use lavina_core::projection::Reason;
use lavina_core::query::{Query, Reply, Value};
use lavina_core::refusal::Refusal;
use lavina_core::time::UnixMillis;
use smol_str::SmolStr;

/// What a session needs before it is bound.
#[derive(Default)]
pub(super) struct Login {
    sasl: Option<Sasl>,
    /// Whom the credential looked up belongs to.
    found: Option<User>,
    /// What goes with success.
    pub additional: Option<Vec<u8>>,
    /// Failures so far.
    failures: u32,
    /// The token that allows registering.
    pub token: Option<Preauth>,
    /// Logging in by SASL2, and what is wanted with it.
    pub wishes: Option<Box<Wishes>>,
}

/// An invitation that a client has shown.
#[derive(Clone)]
pub(super) struct Preauth {
    pub token: SmolStr,
    /// When; an invitation that was good then stays so for this connection (XEP-0445).
    pub at: UnixMillis,
    /// Whose contact the account becomes.
    pub by: Option<User>,
}

impl Xmpp {
    /// An element of the SASL namespace.
    pub(super) fn sasl(&mut self, element: &Element, cx: &mut Cx<'_>) -> Result<(), Reason> {
        if cx.user().is_some() || self.login.is_none() || self.needs_tls(cx) {
            return Err(self.fail(StreamCondition::NotAuthorized, "encrypt first, and log in only once", cx));
        }
        let step = match element.name.as_str() {
            "auth" => self.sasl_auth(element, cx),
            "response" => decode(&element.text()).and_then(|message| self.sasl_response(&message)),
            "abort" => Err("aborted"),
            _ => return Err(self.fail(StreamCondition::UnsupportedStanzaType, "", cx)),
        };
        self.sasl_result(step, cx);
        Ok(())
    }

    fn sasl_auth(&mut self, element: &Element, cx: &mut Cx<'_>) -> Result<Step, &'static str> {
        if let Some(login) = &mut self.login {
            login.wishes = None;
        }
        let initial = match &*element.text() {
            "" => None,
            text => Some(decode(text)?),
        };
        self.sasl_start(element.attr("mechanism").unwrap_or_default(), initial.as_deref(), cx)
    }

    /// Begins an exchange by the mechanism of that name.
    pub(super) fn sasl_start(
        &mut self,
        wanted: &str,
        initial: Option<&[u8]>,
        cx: &mut Cx<'_>,
    ) -> Result<Step, &'static str> {
        let channel = bindings(cx.channel());
        let mechanism =
            Mechanism::offered(&channel).find(|m| m.name() == wanted).ok_or("invalid-mechanism")?;
        let settings = cx.settings();
        let mut setup = Setup {
            domain: SmolStr::new(&*settings.core.domain),
            channel,
            nonce: Default::default(),
            secret: settings.core.secret,
            iterations: settings.iterations,
        };
        cx.fill_random(&mut setup.nonce);
        let (sasl, step) = Sasl::start(mechanism, initial, setup);
        if let Some(login) = &mut self.login {
            login.sasl = Some(sasl);
            login.found = None;
        }
        Ok(step)
    }

    /// Takes the client's next message of the exchange.
    pub(super) fn sasl_response(&mut self, message: &[u8]) -> Result<Step, &'static str> {
        let sasl = self.login.as_mut().and_then(|l| l.sasl.as_mut()).ok_or("malformed-request")?;
        Ok(sasl.respond(message))
    }

    /// Goes on with what came of an element.
    pub(super) fn sasl_result(&mut self, step: Result<Step, &'static str>, cx: &mut Cx<'_>) {
        match step {
            Ok(step) => self.sasl_step(step, cx),
            Err(condition) => self.sasl_failure(condition, None, cx),
        }
    }

    fn sasl_step(&mut self, step: Step, cx: &mut Cx<'_>) {
        match step {
            Step::Challenge(data) => self.write_sasl("challenge", Some(&data), cx),
            Step::NeedCredential(name) => self.look_up(&name, cx),
            Step::NeedDerive(derivation) => {
                self.hold(true, cx);
                self.job(Job::Derive(derivation), cx, |session, done, cx| {
                    session.hold(false, cx);
                    session.derived(done, cx);
                });
            }
            Step::Success { additional, .. } => match self.login.as_mut().and_then(|login| {
                login.additional = additional;
                login.found.clone()
            }) {
                Some(user) => cx.login(user),
                None => self.sasl_failure("temporary-auth-failure", None, cx),
            },
            Step::Failure(failure) => self.sasl_failure(failure.condition(), Some(&failure.to_string()), cx),
        }
    }

    fn look_up(&mut self, name: &LoginName, cx: &mut Cx<'_>) {
        let Some(name) = user_name(&name.account) else { return self.credential(None, cx) };
        self.hold(true, cx);
        self.ask(Query::AccountNamed(name), cx, |session, reply, cx| {
            session.hold(false, cx);
            match reply {
                Err(Refusal::Busy | Refusal::StoreDown | Refusal::StoreFull) => {
                    session.sasl_failure("temporary-auth-failure", None, cx);
                }
                reply => session.credential(usable(reply), cx),
            }
        });
    }

    fn credential(&mut self, found: Option<(User, Credential)>, cx: &mut Cx<'_>) {
        let Some(login) = &mut self.login else { return };
        let (user, credential) = found.unzip();
        login.found = user;
        if let Some(step) = login.sasl.as_mut().map(|sasl| sasl.credential(credential.as_ref())) {
            self.sasl_step(step, cx);
        }
    }

    fn derived(&mut self, done: Result<Done, Refusal>, cx: &mut Cx<'_>) {
        let Ok(Done::Keys(keys)) = done else { return self.sasl_failure("temporary-auth-failure", None, cx) };
        let sasl = self.login.as_mut().and_then(|l| l.sasl.as_mut());
        if let Some(step) = sasl.map(|sasl| sasl.derived(&keys)) {
            self.sasl_step(step, cx);
        }
    }

    /// The core let the account in, perhaps on another worker.
    pub(super) fn logged_in(&mut self, cx: &mut Cx<'_>) {
        let Some(login) = &mut self.login else { return };
        login.sasl = None;
        let additional = login.additional.take();
        if let Some(user) = cx.user() {
            cx.log(Log::new(Level::Info, "xmpp login").with("account", &user.name));
        }
        if let Some(wishes) = self.login.as_mut().and_then(|l| l.wishes.take()) {
            return self.logged_in_with(*wishes, additional, cx);
        }
        self.write_sasl("success", additional.as_deref(), cx);
        self.restart_stream(cx);
        cx.hold(false);
    }

    /// The core did not let the account in.
    pub(super) fn login_refused(&mut self, refusal: &Refusal, cx: &mut Cx<'_>) {
        cx.hold(false);
        let condition = match refusal {
            Refusal::Forbidden | Refusal::BadCredential => "account-disabled",
            _ => "temporary-auth-failure",
        };
        let text = matches!(refusal, Refusal::TooMany).then_some("this account has too many sessions");
        self.sasl_failure(condition, text, cx);
    }

    /// The exchange failed; another may follow.
    pub(super) fn sasl_failure(&mut self, condition: &str, text: Option<&str>, cx: &mut Cx<'_>) {
        let Some(login) = &mut self.login else { return };
        login.sasl = None;
        login.found = None;
        login.failures += 1;
        let over = login.failures >= cx.core_settings().limits.login_tries;
        let namespace = namespace(login);
        login.wishes = None;
        let mut out = Vec::new();
        let mut w = Writer::in_stream(&mut out);
        w.start_ns("failure", namespace).start_ns(condition, ns::SASL).end();
        if let Some(text) = text {
            w.start("text").attr("xml:lang", "en").text(text).end();
        }
        w.end();
        drop(w);
        cx.write(&out, false);
        if over {
            self.end(StreamCondition::PolicyViolation, "too many failures", Reason::Limit("logins"), cx);
        }
    }

    fn write_sasl(&self, name: &str, data: Option<&[u8]>, cx: &mut Cx<'_>) {
        let namespace = self.login.as_deref().map_or(ns::SASL, namespace);
        let mut out = Vec::new();
        let mut w = Writer::in_stream(&mut out);
        w.start_ns(name, namespace);
        match data {
            // Only the older profile has a word for nothing (RFC 6120 §6.4.2).
            Some([]) if namespace == ns::SASL => w.text("="),
            Some(data) => w.text(&BASE64.encode(data)),
            None => &mut w,
        };
        w.end();
        drop(w);
        cx.write(&out, false);
    }
}

/// Which profile of SASL the client speaks.
fn namespace(login: &Login) -> &'static str {
    if login.wishes.is_some() { ns::SASL2 } else { ns::SASL }
}

/// The account and its credential, if it may log in.
pub(super) fn usable(reply: Reply) -> Option<(User, Credential)> {
    let Ok(Value::Account(account)) = reply else { return None };
    let head = account.head.as_ref().filter(|h| !h.disabled && !h.deleted)?;
    Some((account.user()?, Credential::decode(&head.credential).ok()?))
}

/// The bytes of a SASL element; `=` stands for none (RFC 6120 §6.4.2).
pub(super) fn decode(text: &str) -> Result<Vec<u8>, &'static str> {
    match text {
        "=" | "" => Ok(Vec::new()),
        text => BASE64.decode(text.as_bytes()).map_err(|_| "incorrect-encoding"),
    }
}

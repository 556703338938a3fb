//! Logging in by SASL (RFC 6120 §6), over the one implementation that all protocols share.

use crate::job::{Done, Job};
use crate::layer::bindings;
use crate::sasl::{Credential, LoginName, Mechanism, Sasl, Setup, Step};
use crate::session::Cx;
use crate::xmpp::address::user_name;
use crate::xmpp::error::StreamCondition;
use crate::xmpp::ns;
use crate::xmpp::session::Xmpp;
use crate::xmpp::writer::Writer;
use crate::xmpp::xml::Element;
use data_encoding::BASE64;
use lavina_core::log::{Level, Log};
use lavina_core::name::User;
use lavina_core::projection::Reason;
use lavina_core::query::{Query, Reply, Value};
use lavina_core::refusal::Refusal;
use smol_str::SmolStr;

/// What a session needs before it is bound.
#[derive(Default)]
pub(super) struct Login {
    sasl: Option<Sasl>,
    /// Whom the credential looked up belongs to.
    found: Option<User>,
    /// What goes with success.
    additional: Option<Vec<u8>>,
    /// Failures so far.
    failures: u32,
    /// The token that allows registering.
    pub token: Option<SmolStr>,
}

impl Xmpp {
    /// An element of the SASL namespace.
    pub(super) fn sasl(&mut self, element: &Element, cx: &mut Cx<'_>) -> Result<(), Reason> {
        if cx.user().is_some() || self.login.is_none() || self.needs_tls(cx) {
            return Err(self.fail(StreamCondition::NotAuthorized, "encrypt first, and log in only once", cx));
        }
        let step = match element.name.as_str() {
            "auth" => self.sasl_auth(element, cx),
            "response" => self.sasl_response(element),
            "abort" => Err("aborted"),
            _ => return Err(self.fail(StreamCondition::UnsupportedStanzaType, "", cx)),
        };
        match step {
            Ok(step) => self.sasl_step(step, cx),
            Err(condition) => self.sasl_failure(condition, None, cx),
        }
        Ok(())
    }

    fn sasl_auth(&mut self, element: &Element, cx: &mut Cx<'_>) -> Result<Step, &'static str> {
        let channel = bindings(cx.channel());
        let wanted = element.attr("mechanism").unwrap_or_default();
        let mechanism =
            Mechanism::offered(&channel).find(|m| m.name() == wanted).ok_or("invalid-mechanism")?;
        let initial = match &*element.text() {
            "" => None,
            text => Some(decode(text)?),
        };
        let settings = cx.settings();
        let mut setup = Setup {
            domain: SmolStr::new(&*settings.core.domain),
            channel,
            nonce: Default::default(),
            secret: settings.core.secret,
            iterations: settings.iterations,
        };
        cx.fill_random(&mut setup.nonce);
        let (sasl, step) = Sasl::start(mechanism, initial.as_deref(), setup);
        if let Some(login) = &mut self.login {
            login.sasl = Some(sasl);
            login.found = None;
        }
        Ok(step)
    }

    fn sasl_response(&mut self, element: &Element) -> Result<Step, &'static str> {
        let message = decode(&element.text())?;
        let sasl = self.login.as_mut().and_then(|l| l.sasl.as_mut()).ok_or("malformed-request")?;
        Ok(sasl.respond(&message))
    }

    fn sasl_step(&mut self, step: Step, cx: &mut Cx<'_>) {
        match step {
            Step::Challenge(data) => write_sasl("challenge", Some(&data), cx),
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
        write_sasl("success", additional.as_deref(), cx);
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

    fn sasl_failure(&mut self, condition: &str, text: Option<&str>, cx: &mut Cx<'_>) {
        let Some(login) = &mut self.login else { return };
        login.sasl = None;
        login.found = None;
        login.failures += 1;
        let over = login.failures >= cx.core_settings().limits.login_tries;
        let mut out = Vec::new();
        let mut w = Writer::in_stream(&mut out);
        w.start_ns("failure", ns::SASL).start(condition).end();
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
}

/// The account and its credential, if it may log in.
fn usable(reply: Reply) -> Option<(User, Credential)> {
    let Ok(Value::Account(account)) = reply else { return None };
    let head = account.head.as_ref().filter(|h| !h.disabled && !h.deleted)?;
    Some((account.user()?, Credential::decode(&head.credential).ok()?))
}

/// The bytes of a SASL element; `=` stands for none (RFC 6120 §6.4.2).
fn decode(text: &str) -> Result<Vec<u8>, &'static str> {
    match text {
        "=" | "" => Ok(Vec::new()),
        text => BASE64.decode(text.as_bytes()).map_err(|_| "incorrect-encoding"),
    }
}

fn write_sasl(name: &str, data: Option<&[u8]>, cx: &mut Cx<'_>) {
    let mut out = Vec::new();
    let mut w = Writer::in_stream(&mut out);
    w.start_ns(name, ns::SASL);
    match data {
        Some([]) => w.text("="),
        Some(data) => w.text(&BASE64.encode(data)),
        None => &mut w,
    };
    w.end();
    drop(w);
    cx.write(&out, false);
}

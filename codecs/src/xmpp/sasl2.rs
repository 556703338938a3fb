//! Logging in by SASL2 (XEP-0388), and what a client wants with it: a resource (XEP-0386), its old session
//! (XEP-0198 §9), a token for the next time (XEP-0484).
//!
//! What is wanted happens after the login and before `<success/>`, in this order: token, resumption, resource. Whatever
//! comes for the new session meanwhile waits behind `<success/>`.

use crate::layer::bindings;
use crate::sasl::LoginName;
use crate::session::Cx;
use crate::xmpp::address::{bare_jid, user_name};
use crate::xmpp::bind::take_resource;
use crate::xmpp::datetime;
use crate::xmpp::error::StreamCondition;
use crate::xmpp::fast::{self, Holder, Token, agent_of};
use crate::xmpp::login::{decode, usable};
use crate::xmpp::mam::Ends;
use crate::xmpp::ns;
use crate::xmpp::session::{Xmpp, random_name};
use crate::xmpp::sm::Count;
use crate::xmpp::sm_session::session_of;
use crate::xmpp::stream::Session;
use crate::xmpp::writer::Writer;
use crate::xmpp::xml::Element;
use data_encoding::BASE64;
use lavina_core::command::{Act, Audience};
use lavina_core::projection::Reason;
use lavina_core::query::{Query, Value};
use lavina_core::refusal::Refusal;
use smol_str::SmolStr;

/// Longest id of a client installation that is taken; it should be a UUID of 36.
const MAX_AGENT: usize = 64;

/// Longest tag that becomes part of a resource, in bytes.
const MAX_TAG: usize = 128;

/// Stanzas that wait for `<success/>` of a new session; one more, and it goes out without the archive's ends.
const MAX_UNSAID: usize = 256;

/// Session features that `<bind/>` can switch on.
const INLINE: [&str; 3] = [ns::CARBONS, ns::CSI, ns::SM];

/// What a client wants besides being logged in.
#[derive(Default)]
pub(super) struct Wishes {
    /// The client installation, hashed.
    agent: Option<SmolStr>,
    bind: Option<Element>,
    resume: Option<Element>,
    /// The mechanism of the token it wants.
    token: Option<fast::Mechanism>,
    /// It logged in by token and wants this one to end.
    invalidate: bool,
    /// What to keep of it once it is logged in by token.
    accepted: Option<fast::Accepted>,
    /// The mechanism's last word.
    additional: Option<Vec<u8>>,
    /// The token it gets.
    given: Option<Token>,
    /// The refusal of its resumption.
    failed: Vec<u8>,
}

/// A session whose `<success/>` is not written yet.
pub(super) struct Opening {
    wishes: Wishes,
    unsaid: Vec<Vec<u8>>,
}

impl Opening {
    /// Keeps a stanza until the session has begun; false: that is too many.
    pub(super) fn keep(&mut self, stanza: &[u8]) -> bool {
        self.unsaid.push(stanza.to_vec());
        self.unsaid.len() <= MAX_UNSAID
    }
}

/// What is offered (XEP-0388 §2.1).
pub(super) fn write_feature(w: &mut Writer<'_>, mechanisms: impl Iterator<Item = &'static str>, cx: &Cx<'_>) {
    let channel = bindings(cx.channel());
    w.start_ns("authentication", ns::SASL2);
    for mechanism in mechanisms {
        w.leaf("mechanism", mechanism);
    }
    w.start("inline");
    w.start_ns("bind", ns::BIND2).start("inline");
    for feature in INLINE {
        w.start("feature").attr("var", feature).end();
    }
    w.end().end();
    w.empty_ns("sm", ns::SM);
    w.start_ns("fast", ns::FAST);
    for mechanism in fast::Mechanism::offered(&channel) {
        w.leaf("mechanism", mechanism.name());
    }
    w.end().end().end();
}

impl Wishes {
    fn read(element: &Element, cx: &Cx<'_>) -> Wishes {
        let channel = bindings(cx.channel());
        let agent = element.child("user-agent", ns::SASL2).and_then(|agent| agent.attr("id"));
        let agent = agent.filter(|id| !id.is_empty() && id.len() <= MAX_AGENT);
        let request = element.child("request-token", ns::FAST).and_then(|r| r.attr("mechanism"));
        let used = element.child("fast", ns::FAST);
        Wishes {
            agent: agent.map(|id| agent_of(&cx.core_settings().secret, id).into()),
            bind: element.child("bind", ns::BIND2).cloned(),
            resume: element.child("resume", ns::SM).cloned(),
            token: request.and_then(|name| fast::Mechanism::named(name, &channel)),
            invalidate: used.is_some_and(|f| matches!(f.attr("invalidate"), Some("true" | "1"))),
            ..Wishes::default()
        }
    }

    /// The session's resource: what the client calls itself, and a name of its installation that stays the same.
    fn resource(&self, account: u64, cx: &mut Cx<'_>) -> String {
        let tag = self.bind.as_ref().and_then(|b| b.child_text("tag")).filter(|tag| !tag.is_empty());
        let tag = tag.filter(|tag| tag.len() <= MAX_TAG).map(std::borrow::Cow::into_owned);
        let own = match &self.agent {
            Some(agent) => {
                let stable = format!("{account} {agent} {}", tag.as_deref().unwrap_or_default());
                agent_of(&cx.core_settings().secret, &stable)[..12].into()
            }
            None => random_name(cx),
        };
        match tag.filter(|tag| crate::xmpp::jid::prepare_resource(tag).is_ok()) {
            Some(tag) => format!("{tag}/{own}"),
            None => own.to_string(),
        }
    }
}

impl Xmpp {
    /// An element of the namespace.
    pub(super) fn sasl2(&mut self, element: &Element, cx: &mut Cx<'_>) -> Result<(), Reason> {
        if cx.user().is_some() || self.login.is_none() || self.needs_tls(cx) {
            return Err(self.fail(StreamCondition::NotAuthorized, "encrypt first, and log in only once", cx));
        }
        let step = match element.name.as_str() {
            "authenticate" => return self.authenticate(element, cx),
            "response" => decode(element.text().trim()).and_then(|message| self.sasl_response(&message)),
            "abort" => Err("aborted"),
            _ => return Err(self.fail(StreamCondition::UnsupportedStanzaType, "", cx)),
        };
        self.sasl_result(step, cx);
        Ok(())
    }

    fn authenticate(&mut self, element: &Element, cx: &mut Cx<'_>) -> Result<(), Reason> {
        let wishes = Wishes::read(element, cx);
        if let Some(login) = &mut self.login {
            login.wishes = Some(Box::new(wishes));
        }
        let initial = element.child("initial-response", ns::SASL2).map(|el| decode(el.text().trim()));
        let initial = match initial.transpose() {
            Ok(initial) => initial,
            Err(condition) => {
                self.sasl_result(Err(condition), cx);
                return Ok(());
            }
        };
        let mechanism = element.attr("mechanism").unwrap_or_default();
        match fast::Mechanism::named(mechanism, &bindings(cx.channel())) {
            Some(mechanism) if element.has("fast", ns::FAST) => {
                self.by_token(mechanism, &initial.unwrap_or_default(), cx);
            }
            _ => {
                let step = self.sasl_start(mechanism, initial.as_deref(), cx);
                self.sasl_result(step, cx);
            }
        }
        Ok(())
    }

    /// A login by token: the account's name, a zero byte, the proof.
    fn by_token(&mut self, mechanism: fast::Mechanism, message: &[u8], cx: &mut Cx<'_>) {
        let zero = memchr::memchr(0, message).unwrap_or(message.len());
        let (name, proof) = message.split_at(zero);
        let domain = &cx.core_settings().domain;
        let name = std::str::from_utf8(name).ok().and_then(|name| LoginName::parse(name, domain));
        let agent = self.login.as_ref().and_then(|l| l.wishes.as_ref()?.agent.clone());
        let (Some(name), Some(agent), Some(proof)) = (name, agent, proof.get(1..)) else {
            return self.sasl_failure("malformed-request", Some("a token needs an account and a client"), cx);
        };
        let Some(name) = user_name(&name.account) else {
            return self.sasl_failure("not-authorized", None, cx);
        };
        let proof = proof.to_vec();
        self.hold(true, cx);
        self.ask(Query::AccountNamed(name), cx, move |session, reply, cx| {
            session.hold(false, cx);
            if let Err(Refusal::Busy | Refusal::StoreDown | Refusal::StoreFull) = reply {
                return session.sasl_failure("temporary-auth-failure", None, cx);
            }
            let account = match &reply {
                Ok(Value::Account(account)) => Some(account.clone()),
                _ => None,
            };
            let (secret, now) = (cx.core_settings().secret, cx.now().wall.0);
            let accepted = account.and_then(|account| {
                let holder = Holder { account: &account, agent: &agent, secret: &secret };
                holder.check(mechanism, &bindings(cx.channel()), &proof, now)
            });
            match (usable(reply), accepted, &mut session.login) {
                (Some((user, _)), Some(mut accepted), Some(login)) => {
                    login.additional = Some(std::mem::take(&mut accepted.proof));
                    if let Some(wishes) = &mut login.wishes {
                        wishes.token = wishes.token.or(accepted.rotate.filter(|_| !wishes.invalidate));
                        wishes.accepted = Some(accepted);
                    }
                    cx.login(user);
                }
                _ => session.sasl_failure("not-authorized", None, cx),
            }
        });
    }

    /// The account is in: carries out what else is wanted.
    pub(super) fn logged_in_with(
        &mut self,
        mut wishes: Wishes,
        additional: Option<Vec<u8>>,
        cx: &mut Cx<'_>,
    ) {
        wishes.additional = additional;
        self.hold(true, cx);
        self.stream.promote(&cx.core_settings().limits);
        let token = wishes.agent.is_some() && (wishes.token.is_some() || wishes.accepted.is_some());
        match cx.user().map(|me| me.id) {
            Some(me) if token => self.ask(Query::Account(me), cx, move |session, reply, cx| match reply {
                Ok(Value::Account(account)) => session.keep_token(wishes, &account, cx),
                _ => session.resume_or_bind(wishes, cx),
            }),
            _ => self.resume_or_bind(wishes, cx),
        }
    }

    /// Keeps which token was used, and a new one if there is to be one.
    fn keep_token(
        &mut self,
        mut wishes: Wishes,
        account: &lavina_core::chat::account::Account,
        cx: &mut Cx<'_>,
    ) {
        let (secret, now, nonce) = (cx.core_settings().secret, cx.now().wall.0, cx.random());
        let agent = wishes.agent.clone().unwrap_or_default();
        let holder = Holder { account, agent: &agent, secret: &secret };
        let before = holder.client();
        let mut client = match &wishes.accepted {
            Some(_) if wishes.invalidate => fast::Client::default(),
            Some(accepted) => accepted.client,
            None => before,
        };
        let mut given = None;
        if let Some(mechanism) = wishes.token {
            let (token, kept) = holder.mint(client, mechanism, nonce, now);
            (given, client) = (Some(token), kept);
        }
        if client == before {
            return self.resume_or_bind(wishes, cx);
        }
        let act = Act::SetAttrs { values: holder.values(&client), tell: Audience::Nobody, native: None };
        self.own(act, cx, move |session, outcome, cx| {
            // A token that could not be kept is not given; the login is good all the same.
            wishes.given = given.filter(|_| outcome.refusal().is_none());
            session.resume_or_bind(wishes, cx);
        });
    }

    fn resume_or_bind(&mut self, mut wishes: Wishes, cx: &mut Cx<'_>) {
        let Some(resume) = wishes.resume.take() else { return self.bind_inline(wishes, cx) };
        let old = resume.attr("previd").and_then(session_of);
        let handled = resume.attr("h").and_then(Count::parse);
        let around = [self.success_begin(&wishes, None, cx), self.success_end(&wishes, Session::Managed, cx)];
        if let Some(login) = &mut self.login {
            login.wishes = Some(Box::new(wishes));
        }
        match (old, handled) {
            (Some((old, key)), Some(handled)) => cx.resume(old, key, handled.0, around),
            _ => self.not_resumed_inline(None, cx),
        }
    }

    /// The old session is not to be had: there may be a resource wanted instead.
    pub(super) fn not_resumed_inline(&mut self, handled: Option<u32>, cx: &mut Cx<'_>) {
        let Some(mut wishes) = self.login.as_mut().and_then(|l| l.wishes.take()) else { return };
        crate::xmpp::sm_session::write_failed(&mut wishes.failed, "item-not-found", handled);
        self.bind_inline(*wishes, cx);
    }

    fn bind_inline(&mut self, wishes: Wishes, cx: &mut Cx<'_>) {
        let Some(me) = cx.user().cloned() else { return };
        if wishes.bind.is_none() {
            self.hold(false, cx);
            let success =
                [self.success_begin(&wishes, None, cx), self.success_end(&wishes, Session::New, cx)].concat();
            return cx.write(&success, false);
        }
        let resource = wishes.resource(me.id.0, cx);
        let Ok(jid) = bare_jid(&me.name, &cx.core_settings().domain).with_resource(&resource) else {
            return self.bind_failed(cx);
        };
        take_resource(self, jid, cx, move |session, done, cx| {
            if done.is_err() {
                return session.bind_failed(cx);
            }
            if let Some(bound) = &mut session.bound {
                bound.reads_archive = true;
                bound.opening = Some(Box::new(Opening { wishes, unsaid: Vec::new() }));
            }
            session.archive_ends(cx, |session, ends, cx| session.begin(ends.as_ref(), cx));
        });
    }

    fn bind_failed(&mut self, cx: &mut Cx<'_>) {
        self.end(
            StreamCondition::InternalServerError,
            "no resource can be had now",
            Reason::Limit("bind"),
            cx,
        );
    }

    /// Writes `<success/>` and what waited for it: the session begins.
    pub(super) fn begin(&mut self, ends: Option<&Ends>, cx: &mut Cx<'_>) {
        let Some(opening) = self.bound.as_mut().and_then(|b| b.opening.take()) else { return };
        let Opening { wishes, unsaid } = *opening;
        self.hold(false, cx);
        let full = self.full().to_owned();
        let mut out = self.success_begin(&wishes, Some(&full), cx);
        let bind = wishes.bind.clone().unwrap_or_else(|| Element::new("bind", ns::BIND2));
        if let Some(bound) = &mut self.bound {
            bound.carbons = bind.has("enable", ns::CARBONS);
        }
        let mut w = Writer::within(&mut out, ns::SASL2);
        w.start_ns("bound", ns::BIND2);
        if let Some(ends) = ends {
            ends.write(&mut w);
        }
        let enable = bind.child("enable", ns::SM);
        if let Some(enable) = enable {
            w.raw(&self.sm_begin(enable, cx));
        }
        w.end();
        drop(w);
        let session = if enable.is_some() { Session::Managed } else { Session::Bound };
        out.extend_from_slice(&self.success_end(&wishes, session, cx));
        cx.write(&out, false);
        if enable.is_some() {
            cx.outbox().retain();
        }
        self.set_active(!bind.has("inactive", ns::CSI), cx);
        cx.mode_changed();
        for stanza in unsaid {
            self.emit(&stanza, cx);
        }
    }

    fn success_begin(&self, wishes: &Wishes, full: Option<&str>, cx: &Cx<'_>) -> Vec<u8> {
        let bare = cx.user().map(|me| bare_jid(&me.name, &cx.core_settings().domain).to_string());
        let mut out = b"<success xmlns='urn:xmpp:sasl:2'>".to_vec();
        let mut w = Writer::within(&mut out, ns::SASL2);
        if let Some(additional) = &wishes.additional {
            w.leaf("additional-data", &BASE64.encode(additional));
        }
        w.leaf("authorization-identifier", full.or(bare.as_deref()).unwrap_or_default());
        w.raw(&wishes.failed);
        drop(w);
        out
    }

    fn success_end(&self, wishes: &Wishes, session: Session, cx: &Cx<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        let mut w = Writer::within(&mut out, ns::SASL2);
        if let Some(token) = &wishes.given {
            let until = datetime::format(token.until.try_into().unwrap_or(datetime::MAX_MILLIS));
            w.start_ns("token", ns::FAST).attr("expiry", &until).attr("token", &token.text).end();
        }
        drop(w);
        out.extend_from_slice(b"</success>");
        let mut w = Writer::in_stream(&mut out);
        w.start("stream:features");
        self.session_features(&mut w, session, cx);
        w.end();
        drop(w);
        out
    }
}

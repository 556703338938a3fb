//! Invitations (XEP-0401): to become somebody's contact (XEP-0379), with an account of this server where one is missing
//! (XEP-0445), or to have an account here.

use crate::account::{INVITE_BYTES, invite_key, invite_token};
use crate::session::Cx;
use crate::xmpp::address::bare_jid;
use crate::xmpp::commands::finished;
use crate::xmpp::datetime;
use crate::xmpp::error::{StanzaCondition, StanzaError};
use crate::xmpp::forms::FormWriter;
use crate::xmpp::iq::Iq;
use crate::xmpp::ns;
use crate::xmpp::session::Xmpp;
use lavina_core::chat::account::Account;
use lavina_core::command::{Act, Audience, Command, EntityId};
use lavina_core::name::User;
use lavina_core::query::{Query, Value};
use lavina_core::text::{Octets, Str};

/// How long an invitation is good, in milliseconds.
const LIFE: u64 = 7 * 24 * 3600 * 1000;

/// Invitations of one account that are good at the same time; above: refused.
const MAX_OPEN: usize = 50;

/// The value that holds when the account's invitations end.
const KEY: &str = "xmpp.invites";

/// Where an invitation leads.
struct Target {
    uri: String,
    /// It makes contacts only.
    contact_only: bool,
    /// Whose contact one becomes.
    by: Option<User>,
}

/// An invitation to become the account's contact.
pub(super) fn contact(session: &mut Xmpp, iq: Iq, account: &Account, cx: &mut Cx<'_>) {
    let Some(me) = cx.user().cloned() else { return };
    let admin = account.head.as_ref().is_some_and(|h| h.admin);
    let registers = admin || cx.settings().accounts_invite;
    let jid = bare_jid(&me.name, &cx.core_settings().domain);
    let ibr = if registers { ";ibr=y" } else { "" };
    let uri = format!("xmpp:{jid}?roster;preauth=TOKEN{ibr}");
    mint(session, iq, account, Target { uri, contact_only: !registers, by: Some(me) }, cx);
}

/// An invitation to have an account on this server.
pub(super) fn account(session: &mut Xmpp, iq: Iq, account: &Account, cx: &mut Cx<'_>) {
    let uri = format!("xmpp:{}?register;preauth=TOKEN", cx.core_settings().domain);
    mint(session, iq, account, Target { uri, contact_only: false, by: None }, cx);
}

fn mint(session: &mut Xmpp, iq: Iq, account: &Account, target: Target, cx: &mut Cx<'_>) {
    let now = cx.now().wall.0;
    let kept = account.attrs.get(KEY).and_then(|bytes| minicbor::decode::<Vec<u64>>(bytes).ok());
    let mut open: Vec<u64> = kept.unwrap_or_default().into_iter().filter(|until| *until > now).collect();
    if open.len() >= MAX_OPEN {
        let text = "too many of your invitations are still good; wait until some have ended";
        return session.iq_error(&iq, &StanzaError::new(StanzaCondition::ResourceConstraint, text), cx);
    }
    let until = now + LIFE;
    open.push(until);
    let values = vec![(Str::new(KEY), Octets::from(minicbor::to_vec(&open).unwrap_or_default()))];
    session.own(
        Act::SetAttrs { values, tell: Audience::Nobody, native: None },
        cx,
        move |session, outcome, cx| {
            if outcome.refusal().is_some() {
                return session.finish(&iq, &outcome, cx);
            }
            let mut random = [0; INVITE_BYTES];
            cx.fill_random(&mut random);
            let token = invite_token(random).replace('-', "");
            let Some(key) = invite_key(&token) else { return };
            let Target { uri, contact_only, by } = target;
            let act = Act::MintInvite { uses: 1, admin: false, until, by, contact_only };
            session.command(
                Command::by_server(EntityId::Name(key), act),
                false,
                cx,
                move |session, outcome, cx| {
                    if outcome.refusal().is_some() {
                        return session.finish(&iq, &outcome, cx);
                    }
                    let until = datetime::format(until.try_into().unwrap_or(datetime::MAX_MILLIS));
                    session.iq_result(&iq, cx, |w| {
                        finished(w, &iq, "completed", |w| {
                            let mut form = FormWriter::begin(w, "result", ns::INVITATION);
                            form.field("uri", "text-single", "Link", &[&uri.replace("TOKEN", &token)]);
                            form.field("expire", "text-single", "Good until", &[&until]);
                            form.end();
                        });
                    });
                },
            );
        },
    );
}

impl Xmpp {
    /// A request to see `of`'s presence came with an invitation (XEP-0379 §3.4): if it is that person's, it is used up for
    /// this account, and the answer is prepared before the request arrives. `then` goes on in any case.
    pub(super) fn use_invitation(
        &mut self,
        token: &str,
        of: User,
        cx: &mut Cx<'_>,
        then: impl FnOnce(&mut Xmpp, &mut Cx<'_>) + Send + 'static,
    ) {
        let (Some(key), Some(me)) = (invite_key(token), cx.user().cloned()) else { return then(self, cx) };
        self.ask(Query::Resolve(key.clone()), cx, move |session, reply, cx| {
            let his = matches!(reply, Ok(Value::Invite(invite)) if invite.by.as_ref().is_some_and(|by| by.id == of.id));
            if !his {
                return then(session, cx);
            }
            let act = Act::UseInvite { name: me.name.clone(), now: cx.now().wall.0 };
            let command = Command::by_server(EntityId::Name(key), act);
            session.command(command, false, cx, move |session, outcome, cx| match outcome.refusal() {
                None => session.befriend(&of, &me, cx, then),
                Some(_) => then(session, cx),
            });
        });
    }

    /// `whose` account approves `with` and asks for the same.
    pub(super) fn befriend(
        &mut self,
        whose: &User,
        with: &User,
        cx: &mut Cx<'_>,
        then: impl FnOnce(&mut Xmpp, &mut Cx<'_>) + Send + 'static,
    ) {
        let act = Act::Befriend { with: with.clone() };
        let command = Command::by_server(EntityId::Account(whose.id), act);
        self.command(command, false, cx, |session, _, cx| then(session, cx));
    }
}

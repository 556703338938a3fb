//! In-band registration (XEP-0077): with an invitation (XEP-0445), and change of password and removal once logged in.

use crate::account::{By, fresh_id, invite_key};
use crate::job::{Done, Job};
use crate::sasl::{Credential, Password};
use crate::session::Cx;
use crate::xmpp::address::{local_of, user_name};
use crate::xmpp::error::{StanzaCondition, StanzaError};
use crate::xmpp::iq::Iq;
use crate::xmpp::login::Preauth;
use crate::xmpp::ns;
use crate::xmpp::session::{Outcome, Xmpp};
use lavina_core::command::Act;
use lavina_core::name::UserName;
use lavina_core::query::{Query, Value};
use lavina_core::refusal::Refusal;
use lavina_core::text::Octets;
use smol_str::SmolStr;

/// `<preauth/>`: the invitation with which the client is going to register.
pub(super) fn preauth(session: &mut Xmpp, iq: Iq, cx: &mut Cx<'_>) {
    let token = SmolStr::new(iq.payload().attr("token").unwrap_or_default());
    let refuse = |session: &mut Xmpp, iq: &Iq, cx: &mut Cx<'_>| {
        let text = "this invitation is unknown, used up or too old";
        session.iq_error(iq, &StanzaError::new(StanzaCondition::ItemNotFound, text), cx);
    };
    let Some(key) = invite_key(&token).filter(|_| iq.set && session.login.is_some()) else {
        return refuse(session, &iq, cx);
    };
    session.hold(true, cx);
    session.ask(Query::Resolve(key), cx, move |session, reply, cx| {
        session.hold(false, cx);
        let at = cx.now().wall;
        match (reply, &mut session.login) {
            (Ok(Value::Invite(invite)), Some(login))
                if !invite.contact_only && (invite.until == 0 || at.0 <= invite.until) =>
            {
                login.token = Some(Preauth { token, at, by: invite.by.clone() });
                session.iq_result(&iq, cx, |_| {});
            }
            _ => refuse(session, &iq, cx),
        }
    });
}

/// `jabber:iq:register`.
pub(super) fn query(session: &mut Xmpp, iq: Iq, cx: &mut Cx<'_>) {
    match (iq.set, cx.user().is_some()) {
        (false, registered) => {
            let name = cx.user().map(|me| local_of(&me.name)).unwrap_or_default();
            session.iq_result(&iq, cx, |w| {
                w.start_ns("query", ns::REGISTER);
                if registered {
                    w.empty_ns("registered", ns::REGISTER);
                } else {
                    w.leaf("instructions", "Choose a name and a password.");
                }
                w.leaf("username", &name).leaf("password", "").end();
            });
        }
        (true, false) => create(session, iq, cx),
        (true, true) if iq.payload().has("remove", ns::REGISTER) => {
            session
                .own(Act::DeleteAccount, cx, move |session, outcome, cx| session.finish(&iq, &outcome, cx));
        }
        (true, true) => change(session, iq, cx),
    }
}

fn create(session: &mut Xmpp, iq: Iq, cx: &mut Cx<'_>) {
    let token = session.login.as_ref().and_then(|l| l.token.clone());
    if token.is_none() && !cx.core_settings().open_registration {
        let error = StanzaError::new(StanzaCondition::NotAllowed, "an invitation is needed to register here");
        return session.iq_error(&iq, &error, cx);
    }
    let local = iq.payload().child_text("username").unwrap_or_default();
    let Ok(name) = UserName::new_account(local.trim()) else {
        let text = "a name is up to 30 letters, digits, - and _ and begins with a letter; some are reserved";
        return session.iq_error(&iq, &StanzaError::new(StanzaCondition::NotAcceptable, text), cx);
    };
    with_credential(session, iq, cx, move |session, iq, credential, cx| {
        let (shards, random) = (cx.core_settings().shards, cx.random());
        let now = token.as_ref().map_or(cx.now().wall, |t| t.at);
        let by = token.as_ref().map_or(By::Anybody, |t| By::Invite(&t.token));
        let command = crate::account::register(&name, fresh_id(random, shards), &credential, by, now);
        let Some(command) = command else {
            return session.iq_error(&iq, &StanzaError::from(&Refusal::BadInvite), cx);
        };
        session.hold(true, cx);
        session.command(command, false, cx, move |session, outcome, cx| {
            session.hold(false, cx);
            if outcome.refusal().is_some() {
                return session.finish(&iq, &outcome, cx);
            }
            if let Some(login) = &mut session.login {
                login.token = None;
            }
            let new = match outcome {
                Outcome::Reply(Ok(Value::User(new))) => Some(new),
                _ => None,
            };
            let Some((new, by)) = new.zip(token.and_then(|t| t.by)) else {
                return session.iq_result(&iq, cx, |_| {});
            };
            // Each is welcome to the other before the account can be used.
            session.befriend(&by.clone(), &new.clone(), cx, move |session, cx| {
                session.befriend(&new, &by, cx, move |session, cx| session.iq_result(&iq, cx, |_| {}));
            });
        });
    });
}

fn change(session: &mut Xmpp, iq: Iq, cx: &mut Cx<'_>) {
    let named = iq.payload().child_text("username").unwrap_or_default();
    let own =
        cx.user().is_some_and(|me| user_name(&named.trim().to_ascii_lowercase()).as_ref() == Some(&me.name));
    if !own {
        let error = StanzaError::new(StanzaCondition::BadRequest, "`username` must be your own");
        return session.iq_error(&iq, &error, cx);
    }
    with_credential(session, iq, cx, |session, iq, credential, cx| {
        let credential = Octets::from(credential.encode());
        session.own(Act::SetCredential(credential), cx, move |session, outcome, cx| {
            session.finish(&iq, &outcome, cx);
        });
    });
}

/// Derives a credential from the password in the request.
fn with_credential(
    session: &mut Xmpp,
    iq: Iq,
    cx: &mut Cx<'_>,
    then: impl FnOnce(&mut Xmpp, Iq, Credential, &mut Cx<'_>) + Send + 'static,
) {
    let password = Password::new(&iq.payload().child_text("password").unwrap_or_default());
    let password = match password {
        Ok(password) => password,
        Err(error) => {
            let error = StanzaError::new(StanzaCondition::NotAcceptable, error.to_string());
            return session.iq_error(&iq, &error, cx);
        }
    };
    let mut salt = [0; crate::sasl::SALT_LEN];
    cx.fill_random(&mut salt);
    let job = Job::Credential { password, salt, iterations: cx.settings().iterations };
    session.hold(true, cx);
    session.job(job, cx, move |session, done, cx| {
        session.hold(false, cx);
        match done {
            Ok(Done::Credential(credential)) => then(session, iq, credential, cx),
            Ok(_) => session.iq_error(&iq, &StanzaCondition::InternalServerError.into(), cx),
            Err(refusal) => session.finish(&iq, &Outcome::Reply(Err(refusal)), cx),
        }
    });
}

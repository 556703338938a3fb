//! Agents: sessions without a connection, which serve requests that other sessions hand over.
//!
//! A protocol whose connections carry requests of anybody (each says itself whose it is) keeps what
//! belongs to a person's device in an agent on the account's worker, beside the account's other sessions.

use super::{Edge, LOGIN, session::Session};
use crate::{
    ids::{AccountId, Label, Origin, SessionRef},
    mail::Mail,
    post::Post,
    projection::{Parcel, Projection},
};

impl<P: Projection> Edge<P> {
    /// A request for an agent, which is made if it may be.
    pub(super) fn serve(
        &mut self,
        origin: Origin,
        account: AccountId,
        label: Label,
        make: bool,
        parcel: Parcel,
        post: &mut Post,
    ) {
        let key = (account, label);
        let there = self.agents.get(&key).copied().filter(|slot| self.is_live(*slot));
        let slot = there.or_else(|| if make { self.make_agent(&key) } else { None });
        match slot {
            Some(slot) => {
                self.call(slot, |p, cx| p.serve(origin, parcel, cx));
                self.settle(post);
            }
            None if make => post.send(origin.session.worker, Mail::Responded(origin, None)),
            None => {}
        }
    }

    fn is_live(&self, slot: u32) -> bool {
        self.sessions.get(slot).is_some_and(|s| !s.ended)
    }

    /// A new agent, if there may be one more: their number is limited as that of connections is.
    fn make_agent(&mut self, key: &(AccountId, Label)) -> Option<u32> {
        let limits = self.core_settings().limits;
        if self.agents.len() >= limits.connections as usize || self.draining {
            return None;
        }
        let projection = P::agent(key.0, &key.1, &self.settings)?;
        let (worker, wall) = (self.me, self.now.wall);
        let slot = self.sessions.insert_with(|slot, generation| {
            let me = SessionRef { worker, slot, generation };
            Session::new(projection, None, super::session::Core::new(me, None, wall), None)
        });
        self.agents.insert(key.clone(), slot);
        if let Some(s) = self.sessions.get_mut(slot) {
            s.agent = Some(key.clone());
        }
        self.timer(slot, LOGIN, Some(self.now.mono + limits.login_time));
        Some(slot)
    }

    /// The agent ended: a later request makes another.
    pub(super) fn forget_agent(&mut self, slot: u32) {
        let key = self.sessions.get_mut(slot).and_then(|s| s.agent.take());
        if let Some(key) = key
            && self.agents.get(&key) == Some(&slot)
        {
            self.agents.remove(&key);
        }
    }

    /// The answer to what a session here handed over.
    pub(super) fn responded(&mut self, origin: Origin, parcel: Option<Parcel>, post: &mut Post) {
        let Some(slot) = self.find(origin.session) else { return };
        if let Some(s) = self.sessions.get_mut(slot)
            && s.core.pending.remove(&origin.req).is_some()
        {
            self.call(slot, |p, cx| p.responded(origin.req, parcel, cx));
        }
        self.after_answer(slot, post);
    }
}

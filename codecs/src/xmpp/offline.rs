//! Offline messages (XEP-0160): what no session of the account has seen, shown to the first that becomes available.
//!
//! Nothing is kept twice: the account's feed is the archive, and a named value says up to where its sessions had seen it
//! when the last of them left. What was read on another protocol meanwhile is left out.

use crate::missed::Overlap;
use crate::session::Cx;
use crate::xmpp::content::shown;
use crate::xmpp::message::{Arriving, address_of, labels, waits_for_absent};
use crate::xmpp::session::Xmpp;
use lavina_core::chat::account::Account;
use lavina_core::command::{Act, Audience};
use lavina_core::event::Event;
use lavina_core::ids::Pos;
use lavina_core::query::{Bound, Only, Query, Range, Value};
use lavina_core::text::{Octets, Str};
use std::sync::Arc;

/// The name of the value.
const KEY: &str = "xmpp.left";

/// When the account's last session left, and what it had seen of the feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Left {
    /// The last position of the feed.
    pub pos: Pos,
    /// When, in Unix milliseconds.
    pub at: u64,
}

impl Left {
    /// What the account remembers.
    pub(super) fn of(account: &Account) -> Option<Left> {
        let bytes: &[u8] = account.attrs.get(KEY)?;
        let (pos, at) = bytes.split_first_chunk::<8>()?;
        Some(Left { pos: Pos(u64::from_be_bytes(*pos)), at: u64::from_be_bytes(at.try_into().ok()?) })
    }

    fn encode(self) -> Octets {
        Octets::from([self.pos.0.to_be_bytes(), self.at.to_be_bytes()].concat())
    }
}

impl Xmpp {
    /// Remembers how far the feed was seen, if no other session of the account is there to see more.
    pub(super) fn remember_leaving(&mut self, cx: &mut Cx<'_>) {
        let Some(bound) = &mut self.bound else { return };
        // What it misses from here on is read when it comes back.
        bound.overlap = Overlap::default();
        if bound.siblings.values().any(|priority| *priority >= 0) {
            return;
        }
        let left = Left { pos: bound.fed.unwrap_or(Pos::ZERO), at: cx.now().wall.0 };
        let values = vec![(Str::new(KEY), left.encode())];
        self.own(Act::SetAttrs { values, tell: Audience::Nobody, native: None }, cx, |_, _, _| {});
    }

    /// Shows what was missed; nothing if another session is available, which has seen it.
    pub(super) fn missed(&mut self, account: &Account, cx: &mut Cx<'_>) {
        let Some(bound) = &mut self.bound else { return };
        let seen_by_others = bound.reads_archive || bound.siblings.values().any(|priority| *priority >= 0);
        if bound.available.is_none_or(|priority| priority < 0) {
            return;
        }
        let after = Left::of(account).map_or(Pos::ZERO, |left| left.pos);
        let (read, id) = (account.read.clone(), account.id);
        let range = Range {
            after: Bound::Pos(after),
            before: Bound::Open,
            newest: true,
            limit: if seen_by_others { 1 } else { cx.core_settings().limits.page },
            count: false,
            only: Only::Said,
            by: None,
        };
        self.ask(Query::Feed { account: id, with: None, range }, cx, move |session, reply, cx| {
            let Ok(Value::Feed(page)) = reply else { return };
            let wanted = page.entries.iter().filter(|(_, event)| {
                let known = read.get(&event.room).is_some_and(|seen| event.pos <= seen.pos);
                !(known || event.by.is(id) || seen_by_others) && waits_for_absent(event)
            });
            let wanted: Vec<&(Pos, Arc<Event>)> = wanted.collect();
            let Some(bound) = &mut session.bound else { return };
            let last = page.entries.last().map_or(after, |(pos, _)| *pos);
            bound.fed = bound.fed.max(Some(last.max(after)));
            let new = bound.overlap.missed(wanted.iter().map(|(pos, _)| *pos).collect());
            for (_, event) in wanted.iter().filter(|(pos, _)| new.contains(pos)) {
                session.show_late(event, cx);
            }
        });
    }

    fn show_late(&mut self, event: &Event, cx: &mut Cx<'_>) {
        let (Some(fragment), Some(sender)) = (shown(event, "chat"), event.by.user()) else { return };
        let (from_label, target) = labels(event);
        let from = address_of(sender, from_label, &cx.core_settings().domain);
        let message = Arriving {
            from: &from,
            target: target.map(Str::as_str),
            fragment: &fragment,
            id: Some(event.id()),
        };
        self.show(&message, Some(event.at.0), cx);
    }
}

//! The archive (XEP-0313): a room's log, and an account's feed of its dialogs. Ids are the stanza ids.

use crate::session::Cx;
use crate::xmpp::address::{Place, place};
use crate::xmpp::content::{build, shown, write_stanza};
use crate::xmpp::datetime;
use crate::xmpp::error::{StanzaCondition, StanzaError};
use crate::xmpp::forms::{Form, FormWriter};
use crate::xmpp::iq::Iq;
use crate::xmpp::jid::Jid;
use crate::xmpp::message::{address_of, labels};
use crate::xmpp::muc::Show;
use crate::xmpp::ns;
use crate::xmpp::rsm::{Answer, Page, Request};
use crate::xmpp::session::Xmpp;
use crate::xmpp::writer::Writer;
use lavina_core::event::{Event, What};
use lavina_core::ids::{AccountId, MsgId, RoomId};
use lavina_core::name::{NameKey, RoomName, User, UserName};
use lavina_core::query::{Bound, Only, Query, Range, Reply, Stretch, Value};
use lavina_core::refusal::Refusal;
use lavina_core::time::UnixMillis;
use std::sync::Arc;

/// Entries of a page where the client does not say how many it wants.
const PAGE: u32 = 50;

/// Entries asked for by their ids in one request at most.
const MAX_IDS: usize = 50;

/// Other parties of dialogs that a session remembers; above, it forgets all and asks again.
const PARTIES: usize = 1_000;

/// Which archive.
#[derive(Clone, Debug)]
enum Archive {
    /// The account's own; perhaps one dialog of it.
    Own { account: AccountId, with: Option<RoomId> },
    /// A room's; perhaps what one person said.
    Room { id: RoomId, name: RoomName, reader: AccountId, by: Option<AccountId> },
}

impl Archive {
    fn query(&self, range: Range) -> Query {
        match self {
            Archive::Own { account, with } => Query::Feed { account: *account, with: *with, range },
            Archive::Room { id, reader, by, .. } => {
                Query::History { room: *id, reader: *reader, range: Range { by: *by, ..range } }
            }
        }
    }
}

/// What a request filters by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Filter {
    with: Option<Jid>,
    start: Option<u64>,
    end: Option<u64>,
    after: Option<MsgId>,
    before: Option<MsgId>,
    ids: Option<Vec<MsgId>>,
}

/// What can be filtered by: the fields of the form.
const FIELDS: [(&str, &str); 6] = [
    ("with", "jid-single"),
    ("start", "text-single"),
    ("end", "text-single"),
    ("before-id", "text-single"),
    ("after-id", "text-single"),
    ("ids", "list-multi"),
];

impl Filter {
    fn read(form: Option<&Form>) -> Result<Filter, StanzaCondition> {
        let Some(form) = form else { return Ok(Filter::default()) };
        if form.form_type() != Some(ns::MAM) {
            return Err(StanzaCondition::BadRequest);
        }
        let known = |var: &str| var == "FORM_TYPE" || FIELDS.iter().any(|(name, _)| *name == var);
        if form.fields.iter().any(|f| !known(&f.var)) {
            return Err(StanzaCondition::FeatureNotImplemented);
        }
        let text = |var: &str| form.value(var).filter(|v| !v.is_empty());
        let time = |var: &str| match text(var) {
            None => Ok(None),
            Some(t) => datetime::parse(t).map(|t| u64::try_from(t).ok()).ok_or(StanzaCondition::BadRequest),
        };
        let id = |var: &str| match text(var) {
            None => Ok(None),
            Some(id) => MsgId::parse(id).map(Some).ok_or(StanzaCondition::ItemNotFound),
        };
        let with = text("with").map(Jid::new).transpose().map_err(|_| StanzaCondition::JidMalformed)?;
        let ids = match form.values("ids") {
            None => None,
            Some(ids) if ids.len() > MAX_IDS => return Err(StanzaCondition::PolicyViolation),
            Some(ids) => {
                let ids: Option<Vec<MsgId>> = ids.iter().map(|id| MsgId::parse(id)).collect();
                Some(ids.ok_or(StanzaCondition::ItemNotFound)?)
            }
        };
        Ok(Filter {
            with,
            start: time("start")?,
            end: time("end")?,
            after: id("after-id")?,
            before: id("before-id")?,
            ids,
        })
    }

    /// The stretch of the archive that filter and page ask for. A page's own end is within what the filter gave before.
    fn range(&self, page: &Request, max: u32) -> Result<Range, StanzaCondition> {
        let time = |t: u64| Bound::Time(UnixMillis(t));
        let mut after = match (self.after, self.start) {
            (Some(id), _) => Bound::Msg(id),
            (None, Some(start)) => start.checked_sub(1).map_or(Bound::Open, time),
            (None, None) => Bound::Open,
        };
        let mut before = match (self.before, self.end) {
            (Some(id), _) => Bound::Msg(id),
            (None, Some(end)) => time(end.saturating_add(1)),
            (None, None) => Bound::Open,
        };
        let id = |id: &str| MsgId::parse(id).map(Bound::Msg).ok_or(StanzaCondition::ItemNotFound);
        let newest = match &page.page {
            Page::First => false,
            Page::After(last) => {
                after = id(last)?;
                false
            }
            Page::Before(first) => {
                before = id(first)?;
                true
            }
            Page::Last => true,
            Page::Index(_) => return Err(StanzaCondition::FeatureNotImplemented),
        };
        let limit = page.max.unwrap_or(PAGE).min(max);
        Ok(Range { after, before, newest, limit, count: limit == 0, only: Only::Said, by: None })
    }
}

/// A page that was read.
#[derive(Default)]
struct Found {
    entries: Vec<Arc<Event>>,
    more: bool,
    total: Option<u64>,
}

fn found(reply: Reply) -> Result<Found, StanzaError> {
    match reply {
        Ok(Value::Events(page)) => {
            let Stretch { entries, more, total } = &*page;
            Ok(Found { entries: entries.clone(), more: *more, total: *total })
        }
        Ok(Value::Feed(page)) => {
            let Stretch { entries, more, total } = &*page;
            Ok(Found {
                entries: entries.iter().map(|(_, e)| e.clone()).collect(),
                more: *more,
                total: *total,
            })
        }
        Ok(_) => Err(StanzaCondition::InternalServerError.into()),
        Err(Refusal::NotMember | Refusal::Banned) => Err(StanzaCondition::Forbidden.into()),
        Err(refusal) => Err(StanzaError::from(&refusal)),
    }
}

/// Asks for a page, or for the form.
pub(super) fn query(session: &mut Xmpp, iq: Iq, cx: &mut Cx<'_>) {
    if !iq.set {
        return session.iq_result(&iq, cx, |w| {
            w.start_ns("query", ns::MAM);
            let mut form = FormWriter::begin(w, "form", ns::MAM);
            for (var, kind) in FIELDS {
                form.field(var, kind, "", &[]);
            }
            form.end();
            w.end();
        });
    }
    let request = Request::read(iq.payload()).ok_or(StanzaCondition::BadRequest);
    let filter = Filter::read(Form::in_element(iq.payload()).as_ref());
    let (request, filter) = match request.and_then(|r| Ok((r, filter?))) {
        Ok(read) => read,
        Err(condition) => return session.iq_error(&iq, &condition.into(), cx),
    };
    session.archive_of(iq, filter.with.clone(), cx, move |session, iq, archive, cx| match archive {
        Some(archive) => session.read_archive(iq, archive, &filter, &request, cx),
        None => session.write_page(&iq, None, &Found::default(), cx),
    });
}

/// Where an archive begins and ends.
pub(super) struct Ends([Option<Arc<Event>>; 2]);

impl Ends {
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.start_ns("metadata", ns::MAM);
        for (name, event) in ["start", "end"].into_iter().zip(&self.0) {
            if let Some(event) = event {
                let at = datetime::format(event.at.0.try_into().unwrap_or(datetime::MAX_MILLIS));
                w.start(name).attr("id", &event.id().text()).attr("timestamp", &at).end();
            }
        }
        w.end();
    }
}

/// Where the archive begins and ends (XEP-0313 §5).
pub(super) fn metadata(session: &mut Xmpp, iq: Iq, cx: &mut Cx<'_>) {
    session.archive_of(iq, None, cx, |session, iq, archive, cx| {
        let Some(archive) = archive else {
            return session.iq_error(&iq, &StanzaCondition::ItemNotFound.into(), cx);
        };
        session.ends_of(&archive, cx, move |session, ends, cx| match ends {
            Ok(ends) => session.iq_result(&iq, cx, |w| ends.write(w)),
            Err(error) => session.iq_error(&iq, &error, cx),
        });
    });
}

/// What is to be archived (XEP-0441 §2): there is nothing to choose.
pub(super) fn preferences(session: &mut Xmpp, iq: Iq, cx: &mut Cx<'_>) {
    let why = "this server has one history for all clients, and everything that is said is in it";
    session.iq_error(&iq, &StanzaError::new(StanzaCondition::FeatureNotImplemented, why), cx);
}

impl Xmpp {
    /// Where the account's own archive begins and ends; none if it cannot be read now.
    pub(super) fn archive_ends(
        &mut self,
        cx: &mut Cx<'_>,
        then: impl FnOnce(&mut Xmpp, Option<Ends>, &mut Cx<'_>) + Send + 'static,
    ) {
        let Some(me) = cx.user().map(|me| me.id) else { return };
        let own = Archive::Own { account: me, with: None };
        self.ends_of(&own, cx, |session, ends, cx| then(session, ends.ok(), cx));
    }

    fn ends_of(
        &mut self,
        archive: &Archive,
        cx: &mut Cx<'_>,
        then: impl FnOnce(&mut Xmpp, Result<Ends, StanzaError>, &mut Cx<'_>) + Send + 'static,
    ) {
        let end = |newest| archive.query(Range { newest, ..Range::latest(1) });
        let last = end(true);
        self.ask(end(false), cx, move |session, first, cx| {
            session.ask(last, cx, move |session, last, cx| {
                let ends = found(first).and_then(|first| {
                    Ok(Ends([first, found(last)?].map(|page| page.entries.first().cloned())))
                });
                then(session, ends, cx);
            });
        });
    }

    /// Finds the archive that is asked for; none if nothing in it can fit the filter.
    fn archive_of(
        &mut self,
        iq: Iq,
        with: Option<Jid>,
        cx: &mut Cx<'_>,
        then: impl FnOnce(&mut Xmpp, Iq, Option<Archive>, &mut Cx<'_>) + Send + 'static,
    ) {
        let domain = cx.core_settings().domain.clone();
        let person = match with.as_ref().map(|jid| place(jid, &domain)) {
            None => None,
            Some(Place::User(name, _)) => Some(Some(name)),
            Some(Place::Room(room, Some(nick))) => {
                return self.with_occupant(room, nick.clone(), cx, move |session, user, cx| {
                    // Who is there no more may have been called by the name.
                    let name = user.map(|u| u.name).or_else(|| UserName::new(&nick).ok());
                    session.archive_with(iq, Some(name), cx, then);
                });
            }
            Some(_) => Some(None),
        };
        self.archive_with(iq, person, cx, then);
    }

    /// The same, with whom being known: somebody, or nobody at all.
    fn archive_with(
        &mut self,
        iq: Iq,
        person: Option<Option<UserName>>,
        cx: &mut Cx<'_>,
        then: impl FnOnce(&mut Xmpp, Iq, Option<Archive>, &mut Cx<'_>) + Send + 'static,
    ) {
        let Some(me) = cx.user().cloned() else { return };
        match (iq.place.clone(), person) {
            (_, Some(None)) => then(self, iq, None, cx),
            (Place::Room(name, None), person) => {
                let key = NameKey::Room(name.clone());
                self.ask(Query::Resolve(key), cx, move |session, reply, cx| {
                    let id = match reply {
                        Ok(Value::Id(id)) => RoomId(id),
                        Ok(_) => return session.iq_error(&iq, &StanzaCondition::ItemNotFound.into(), cx),
                        Err(refusal) => return session.iq_error(&iq, &StanzaError::from(&refusal), cx),
                    };
                    let whole = Archive::Room { id, name: name.clone(), reader: me.id, by: None };
                    let Some(person) = person.flatten() else { return then(session, iq, Some(whole), cx) };
                    session.with_user(person, cx, move |session, user, cx| {
                        let of = |u: User| Archive::Room { id, name, reader: me.id, by: Some(u.id) };
                        then(session, iq, user.map(of), cx);
                    });
                });
            }
            (Place::User(..), None) => then(self, iq, Some(Archive::Own { account: me.id, with: None }), cx),
            (Place::User(..), Some(Some(person))) => self.with_user(person, cx, move |session, user, cx| {
                let dialog = user.and_then(|user| Xmpp::dialog(&user, cx));
                let of = |room| Archive::Own { account: me.id, with: Some(room) };
                then(session, iq, dialog.map(of), cx);
            }),
            _ => self.iq_error(&iq, &StanzaCondition::ServiceUnavailable.into(), cx),
        }
    }

    fn read_archive(
        &mut self,
        iq: Iq,
        archive: Archive,
        filter: &Filter,
        request: &Request,
        cx: &mut Cx<'_>,
    ) {
        if let Some(ids) = &filter.ids {
            let ids = ids.iter().rev().copied().collect();
            return self.read_by_id(iq, archive, ids, Vec::new(), cx);
        }
        let range = match filter.range(request, cx.core_settings().limits.page) {
            Ok(range) => range,
            Err(condition) => return self.iq_error(&iq, &condition.into(), cx),
        };
        self.ask(archive.query(range), cx, move |session, reply, cx| match found(reply) {
            Ok(page) => session.archive_read(iq, archive, page, cx),
            Err(error) => session.iq_error(&iq, &error, cx),
        });
    }

    /// Reads entries one by one, the last of `ids` first.
    fn read_by_id(
        &mut self,
        iq: Iq,
        archive: Archive,
        mut ids: Vec<MsgId>,
        mut entries: Vec<Arc<Event>>,
        cx: &mut Cx<'_>,
    ) {
        let Some(id) = ids.pop() else {
            return self.archive_read(iq, archive, Found { entries, more: false, total: None }, cx);
        };
        let range = Range { after: Bound::From(id), before: Bound::From(id), ..Range::latest(1) };
        self.ask(archive.query(range), cx, move |session, reply, cx| match found(reply) {
            Ok(page) if page.entries.is_empty() => {
                session.iq_error(&iq, &StanzaCondition::ItemNotFound.into(), cx);
            }
            Ok(page) => {
                entries.extend(page.entries);
                session.read_by_id(iq, archive, ids, entries, cx);
            }
            Err(error) => session.iq_error(&iq, &error, cx),
        });
    }

    /// Finds out whom the own messages of a page went to, then writes it.
    fn archive_read(&mut self, iq: Iq, archive: Archive, page: Found, cx: &mut Cx<'_>) {
        let (Archive::Own { account, .. }, Some(bound)) = (&archive, &mut self.bound) else {
            return self.write_page(&iq, Some(&archive), &page, cx);
        };
        if bound.parties.len() > PARTIES {
            bound.parties.clear();
        }
        let account = *account;
        for event in &page.entries {
            if let Some(user) = event.by.user().filter(|u| u.id != account) {
                bound.parties.insert(event.room, user.clone());
            }
        }
        let unknown = page.entries.iter().find(|e| !bound.parties.contains_key(&e.room)).map(|e| e.room);
        let Some(room) = unknown else { return self.write_page(&iq, Some(&archive), &page, cx) };
        self.ask(Query::Room(room), cx, move |session, reply, cx| {
            let parties = match reply {
                Ok(Value::Room(view)) => view.parties.clone(),
                _ => None,
            };
            let Some((a, b)) = parties else {
                return session.iq_error(&iq, &StanzaCondition::InternalServerError.into(), cx);
            };
            if let Some(bound) = &mut session.bound {
                bound.parties.insert(room, if a.id == account { b } else { a });
            }
            session.archive_read(iq, archive, page, cx);
        });
    }

    fn write_page(&mut self, iq: &Iq, archive: Option<&Archive>, page: &Found, cx: &mut Cx<'_>) {
        let full = self.full().to_owned();
        let query = iq.payload();
        let flip = query.has("flip-page", ns::MAM);
        let mut order: Vec<&Arc<Event>> = page.entries.iter().collect();
        if flip {
            order.reverse();
        }
        for event in order {
            let Some(inner) = archive.and_then(|archive| self.forwarded(archive, event, page, cx)) else {
                continue;
            };
            let stamp = event.at.0;
            self.answer(iq.slot, cx, |w| {
                w.start("message").opt_attr("from", iq.to.as_ref().map(Jid::as_str)).attr("to", &full);
                w.start_ns("result", ns::MAM).opt_attr("queryid", query.attr("queryid"));
                w.attr("id", &event.id().text());
                w.start_ns("forwarded", ns::FORWARD);
                stamped(w, stamp);
                w.raw(&inner).end().end().end();
            });
        }
        let ids = page.entries.first().zip(page.entries.last());
        let ids = ids.map(|(first, last)| (first.id().text(), last.id().text()));
        let ends = ids.as_ref().map(|(first, last)| (first.as_str(), last.as_str()));
        let complete = !page.more && page.total.is_none_or(|n| n == 0);
        self.iq_result(iq, cx, |w| {
            w.start_ns("fin", ns::MAM).opt_attr("complete", complete.then_some("true"));
            Answer { ends, index: None, count: page.total }.write(w);
            w.end();
        });
    }

    /// The stanza in an entry, where it is forwarded; none if the entry shows nothing to XMPP.
    fn forwarded(&self, archive: &Archive, event: &Event, page: &Found, cx: &Cx<'_>) -> Option<Vec<u8>> {
        match archive {
            Archive::Room { name, .. } => {
                let show = Show::new(name, cx.settings());
                if let Some(fragment) = tombstone(event, page, "groupchat", Some(&show)) {
                    return Some(show.archived(event, &fragment));
                }
                show.inner(event)
            }
            Archive::Own { account, .. } => {
                let fragment = match tombstone(event, page, "chat", None) {
                    Some(fragment) => fragment.into(),
                    None => shown(event, "chat")?,
                };
                let other = self.bound.as_ref()?.parties.get(&event.room)?;
                let domain = &cx.core_settings().domain;
                let (from_label, to_label) = labels(event);
                let me = cx.user().filter(|me| me.id == *account)?;
                let (from, to) = if event.by.is(*account) { (me, other) } else { (other, me) };
                let (from, to) = (address_of(from, from_label, domain), address_of(to, to_label, domain));
                let mut out = Vec::with_capacity(fragment.len() + 256);
                write_stanza(&mut out, true, &from, &to, &fragment, |_| {});
                Some(out)
            }
        }
    }
}

/// When a forwarded stanza had come.
fn stamped(w: &mut Writer<'_>, at: u64) {
    let stamp = datetime::format(at.try_into().unwrap_or(datetime::MAX_MILLIS));
    w.start_ns("delay", ns::DELAY).attr("stamp", &stamp).end();
}

/// What stands for a message that was withdrawn (XEP-0424 §5). When and by whom is told if the page has the withdrawal;
/// else it follows on a later one.
fn tombstone(event: &Event, page: &Found, kind: &str, room: Option<&Show<'_>>) -> Option<Vec<u8>> {
    let What::Said(message) = &event.what else { return None };
    if !message.gone {
        return None;
    }
    let withdrawal = page.entries.iter().find(|e| {
        e.room == event.room && matches!(e.what, What::Redacted { target, .. } if target == event.pos)
    });
    let id = message.client_id.as_ref().map_or_else(|| event.id().text(), ToString::to_string);
    Some(build(kind, &id, |w| {
        w.start_ns("retracted", ns::RETRACT);
        if let Some(withdrawal) = withdrawal {
            let at = datetime::format(withdrawal.at.0.try_into().unwrap_or(datetime::MAX_MILLIS));
            w.attr("id", &withdrawal.id().text()).attr("stamp", &at);
            if let Some(show) = room.filter(|_| withdrawal.by != event.by) {
                show.moderated_by(w, withdrawal);
            }
        }
        w.end();
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::xmpp::forms::Field;
    use lavina_core::ids::Pos;

    fn form(fields: &[(&str, &str)]) -> Form {
        let field = |(var, value): &(&str, &str)| Field {
            var: (*var).to_owned(),
            kind: String::new(),
            values: vec![(*value).to_owned()],
        };
        let mut all = vec![field(&("FORM_TYPE", ns::MAM))];
        all.extend(fields.iter().map(field));
        Form { kind: "submit".into(), fields: all }
    }

    fn range(fields: &[(&str, &str)], max: Option<u32>, page: Page) -> Result<Range, StanzaCondition> {
        Filter::read(Some(&form(fields)))?.range(&Request { max, page }, 100)
    }

    #[test]
    fn filters_and_pages_are_one_stretch() {
        let id = MsgId { room: RoomId(1), pos: Pos(2) };
        let all = Range { newest: false, ..Range::latest(PAGE) };
        assert_eq!(range(&[], None, Page::First), Ok(all.clone()));
        let times = [("start", "1970-01-01T00:00:01Z"), ("end", "1970-01-01T00:00:02Z")];
        let (start, end) = (Bound::Time(UnixMillis(999)), Bound::Time(UnixMillis(2001)));
        assert_eq!(
            range(&times, Some(500), Page::First),
            Ok(Range { after: start, before: end, limit: 100, ..all.clone() })
        );
        assert_eq!(
            range(&times, Some(5), Page::Before(id.text())),
            Ok(Range { after: start, before: Bound::Msg(id), newest: true, limit: 5, ..all.clone() })
        );
        assert_eq!(
            range(&[("after-id", &id.text())], None, Page::Last),
            Ok(Range { after: Bound::Msg(id), newest: true, ..all.clone() })
        );
        assert_eq!(range(&[], Some(0), Page::First), Ok(Range { limit: 0, count: true, ..all }));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        use StanzaCondition as C;
        assert_eq!(range(&[], None, Page::After("x".into())), Err(C::ItemNotFound));
        assert_eq!(range(&[("after-id", "x")], None, Page::First), Err(C::ItemNotFound));
        assert_eq!(range(&[("start", "yesterday")], None, Page::First), Err(C::BadRequest));
        assert_eq!(range(&[("with", "@@")], None, Page::First), Err(C::JidMalformed));
        assert_eq!(range(&[("colour", "red")], None, Page::First), Err(C::FeatureNotImplemented));
        assert_eq!(Filter::read(Some(&Form::default())), Err(C::BadRequest));
    }
}

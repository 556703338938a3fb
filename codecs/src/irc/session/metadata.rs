//! METADATA (IRCv3 draft/metadata-2, draft/metadata-3): public values of people and channels.
//!
//! A person's are values of the account, so that every protocol shows the same (see [`crate::account::PUBLIC`]); a
//! channel's are values of the room. The two drafts differ in how a change is told: by METADATA, or by 761 and 766.

use std::collections::BTreeMap;

use lavina_core::chat::account::Account;
use lavina_core::command::{Act, Audience, Command, EntityId};
use lavina_core::ids::AccountId;
use lavina_core::name::{User, UserName};
use lavina_core::policy::JoinRule;
use lavina_core::query::{Query, RoomView};
use lavina_core::refusal::Refusal;
use lavina_core::text::{Octets, Str};

use super::super::cap::{Cap, Caps};
use super::super::casemap;
use super::super::limits::{METADATA_KEYS, METADATA_SUBS, METADATA_VALUE};
use super::super::message::Line;
use super::super::numeric as n;
use super::super::render::{self, SettingsOf, View, cut};
use super::answer::{Ask, line as one, tag};
use super::channels::{joined, may_see};
use super::register::REAL_MAX;
use super::{Irc, Stage, server};
use crate::account::{DISPLAY_NAME, PUBLIC};
use crate::session::Cx;

/// Members whose values are told at once when a channel is entered or synchronised; with more, 774 says that it has to
/// be asked for, and the first of them are told then.
const MEMBERS_TOLD: usize = 100;

/// A METADATA under way.
#[derive(Debug, Clone)]
pub(super) struct Meta {
    verb: MetaVerb,
    /// As the answer names it.
    target: String,
    params: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MetaVerb {
    Get,
    List,
    Set,
    Clear,
    Sync,
}

/// Values by key, without the prefix they are kept under.
type Values = BTreeMap<String, String>;

impl Irc {
    fn has_metadata(&self) -> bool {
        self.caps.any(Caps::of(&[Cap::Metadata2, Cap::Metadata3]))
    }

    pub(super) fn metadata(&mut self, line: &Line<'_>, cx: &mut Cx<'_>) {
        if !self.has_metadata() {
            return self.numeric(cx, n::ERR_UNKNOWNCOMMAND, &["METADATA"]);
        }
        let params: Vec<String> = line.params.iter().skip(2).map(|p| p.to_string()).collect();
        let verb = match line.param(1).to_ascii_uppercase().as_str() {
            "GET" => MetaVerb::Get,
            "LIST" => MetaVerb::List,
            "SET" => MetaVerb::Set,
            "CLEAR" => MetaVerb::Clear,
            "SYNC" => MetaVerb::Sync,
            "SUB" => return self.meta_sub(&params, cx),
            "UNSUB" => return self.meta_unsub(&params, cx),
            "SUBS" => return self.meta_subs(cx),
            _ => {
                let sub = line.param(1);
                return self.fail(cx, "METADATA", "SUBCOMMAND_INVALID", &[sub], "Invalid subcommand");
            }
        };
        let target = line.param(0);
        let meta = Meta { verb, target: target.to_owned(), params };
        if verb == MetaVerb::Set && !self.meta_settable(&meta, cx) {
            return;
        }
        let me = target == "*" || casemap::same(target, self.target());
        if self.stage == Stage::Registering {
            return if me { self.meta_early(meta, cx) } else { self.meta_no_target(&meta, cx) };
        }
        let Some(user) = self.user.clone() else { return self.account_required("METADATA", cx) };
        if me {
            let meta = Meta { target: self.target().to_owned(), ..meta };
            let req = cx.query(Query::Account(user.id));
            return self.ask(req, Ask::MetaAccount { meta: Box::new(meta), user });
        }
        let query = match casemap::is_channel(target) {
            true => self.view_of(target),
            false => UserName::new(target).ok().map(Query::Whois),
        };
        match query {
            Some(query) => {
                let req = cx.query(query);
                self.ask(req, Ask::MetaTarget(Box::new(meta)));
            }
            None => self.meta_no_target(&meta, cx),
        }
    }

    pub(super) fn meta_no_target(&mut self, meta: &Meta, cx: &mut Cx<'_>) {
        self.fail(cx, "METADATA", "INVALID_TARGET", &[&meta.target], "There is no such target");
    }

    fn meta_no_permission(&mut self, target: &str, key: &str, cx: &mut Cx<'_>) {
        let text = "You do not have permission to do that";
        self.fail(cx, "METADATA", "KEY_NO_PERMISSION", &[target, key], text);
    }

    /// Whether what is to be set can be.
    fn meta_settable(&mut self, meta: &Meta, cx: &mut Cx<'_>) -> bool {
        let (key, value) = (meta.params.first(), meta.params.get(1));
        let Some(key) = key else {
            self.need_more("METADATA", cx);
            return false;
        };
        if !is_key(key) {
            self.fail(cx, "METADATA", "KEY_INVALID", &[key], "That is not a valid key");
            return false;
        }
        if value.is_some_and(|v| v.len() > METADATA_VALUE) {
            let text = "That value is too long";
            let code = if self.caps.has(Cap::Metadata3) { "INVALID_VALUE" } else { "VALUE_INVALID" };
            self.fail(cx, "METADATA", code, &[key], text);
            return false;
        }
        true
    }

    // --- people ---

    /// It is known who is meant.
    pub(super) fn meta_user(&mut self, meta: Meta, user: User, cx: &mut Cx<'_>) {
        if matches!(meta.verb, MetaVerb::Set | MetaVerb::Clear) {
            let key = meta.params.first().filter(|_| meta.verb == MetaVerb::Set).map_or("*", String::as_str);
            return self.meta_no_permission(&meta.target, key, cx);
        }
        let meta = Meta { target: user.name.to_string(), ..meta };
        let req = cx.query(Query::Account(user.id));
        self.ask(req, Ask::MetaAccount { meta: Box::new(meta), user });
    }

    /// The account is read.
    pub(super) fn meta_account(&mut self, meta: Meta, user: &User, account: &Account, cx: &mut Cx<'_>) {
        let values = public(&account.attrs);
        let changes = match meta.verb {
            MetaVerb::Set => meta_change(&meta),
            MetaVerb::Clear => values.keys().map(|key| (key.clone(), String::new())).collect(),
            _ => return self.meta_tell(&meta, &values, cx),
        };
        if values.len() + changes.len() > METADATA_KEYS {
            let text = "You have set too many keys";
            return self.fail(cx, "METADATA", "LIMIT_REACHED", &[&meta.target], text);
        }
        self.meta_set_user(meta, user, changes, cx);
    }

    fn meta_set_user(&mut self, meta: Meta, user: &User, changes: Vec<(String, String)>, cx: &mut Cx<'_>) {
        let values = stored(&changes);
        let act = Act::SetAttrs { values, tell: Audience::Own, native: None };
        let req = cx.command(Command::by(user, EntityId::Account(user.id), act), false);
        self.ask(req, Ask::MetaSet { meta: Box::new(meta), changes });
    }

    // --- channels ---

    /// The channel is read.
    pub(super) fn meta_room(&mut self, meta: Meta, view: &RoomView, cx: &mut Cx<'_>) {
        let shown = view.head.name.as_ref().map_or_else(|| meta.target.clone(), super::identity::channel);
        let meta = Meta { target: shown, ..meta };
        let open = view.policy().join == JoinRule::Public && may_see(view, self.user.as_ref());
        let values = public(&view.attrs);
        let changes = match meta.verb {
            MetaVerb::Set => meta_change(&meta),
            MetaVerb::Clear => values.keys().map(|key| (key.clone(), String::new())).collect(),
            _ if !open && !self.belongs(view) => return self.meta_no_permission(&meta.target, "*", cx),
            MetaVerb::Sync => return self.meta_sync(view, &meta.target, true, cx),
            _ => return self.meta_tell(&meta, &values, cx),
        };
        let Some(user) = self.user.clone() else { return };
        for (key, value) in stored(&changes) {
            let act = Act::SetRoomAttr { key, value };
            let req = cx.command(Command::by(&user, EntityId::Room(view.id), act), false);
            self.ask(req, Ask::MetaRoomSet { meta: Box::new(meta.clone()) });
        }
        if meta.verb == MetaVerb::Clear {
            self.meta_cleared(&meta.target, &changes, cx);
        }
    }

    /// A value of a channel is set, or not.
    pub(super) fn meta_room_set(&mut self, meta: &Meta, refusal: Option<&Refusal>, cx: &mut Cx<'_>) {
        let key = meta.params.first().filter(|_| meta.verb == MetaVerb::Set).map_or("*", String::as_str);
        match refusal {
            None if meta.verb == MetaVerb::Clear => {}
            None => {
                let (target, value) = (meta.target.clone(), meta.params.get(1).cloned().unwrap_or_default());
                self.meta_line(&target, key, &value, "", cx);
            }
            Some(Refusal::TooMany | Refusal::TooLong) => {
                let text = "There are too many values, or they are too long";
                self.fail(cx, "METADATA", "LIMIT_REACHED", &[&meta.target], text);
            }
            Some(_) => self.meta_no_permission(&meta.target, key, cx),
        }
    }

    // --- answers ---

    /// Values of one's own are set.
    pub(super) fn meta_set(&mut self, meta: &Meta, changes: &[(String, String)], cx: &mut Cx<'_>) {
        cx.show_attrs(stored(changes));
        self.learn_name(&stored(changes), cx);
        if meta.verb == MetaVerb::Clear {
            return self.meta_cleared(&meta.target, changes, cx);
        }
        for (key, value) in changes {
            self.meta_line(&meta.target, key, value, "", cx);
        }
    }

    fn meta_cleared(&mut self, target: &str, changes: &[(String, String)], cx: &mut Cx<'_>) {
        let tags = self.meta_open(target, cx);
        for (key, _) in changes {
            self.meta_line(target, key, "", &tags, cx);
        }
        self.meta_close(&tags, cx);
    }

    /// GET, LIST, SYNC of a person.
    fn meta_tell(&mut self, meta: &Meta, values: &Values, cx: &mut Cx<'_>) {
        let tags = self.meta_open(&meta.target, cx);
        match meta.verb {
            MetaVerb::Get => {
                for key in &meta.params {
                    if is_key(key) {
                        let value = values.get(key).cloned().unwrap_or_default();
                        self.meta_line(&meta.target, key, &value, &tags, cx);
                    } else {
                        self.fail(cx, "METADATA", "KEY_INVALID", &[key], "That is not a valid key");
                    }
                }
            }
            _ => {
                let all = meta.verb == MetaVerb::List;
                for (key, value) in values {
                    if all || self.subs.contains(key.as_str()) {
                        self.meta_line(&meta.target, key, value, &tags, cx);
                    }
                }
            }
        }
        self.meta_close(&tags, cx);
    }

    /// Opens a batch; the tags of its lines.
    fn meta_open(&mut self, target: &str, cx: &mut Cx<'_>) -> String {
        let name = format!("d{}", self.counter);
        self.counter = self.counter.wrapping_add(1);
        let (server, label) = (server(cx), self.own_batch_tags());
        let open = one(|w| {
            w.raw_tags(&label).source(server).command("BATCH").param(&format!("+{name}"));
            w.param("metadata").param(target).end();
        });
        self.emit(&open, cx);
        tag("batch", &name)
    }

    fn meta_close(&mut self, tags: &str, cx: &mut Cx<'_>) {
        let (server, name) = (server(cx), tags.strip_prefix("batch=").unwrap_or_default().to_owned());
        let close = one(|w| {
            w.source(server).command("BATCH").param(&format!("-{name}")).end();
        });
        self.emit(&close, cx);
    }

    /// 761, or 766 where there is no value.
    fn meta_line(&mut self, target: &str, key: &str, value: &str, tags: &str, cx: &mut Cx<'_>) {
        let server = server(cx);
        let line = one(|w| {
            w.raw_tags(tags).source(server);
            if value.is_empty() {
                w.numeric(n::RPL_KEYNOTSET, self.target())
                    .param(target)
                    .param(key)
                    .last(n::RPL_KEYNOTSET.text);
            } else {
                w.numeric(n::RPL_KEYVALUE, self.target()).param(target).param(key).param("*").last(value);
            }
        });
        self.emit(&line, cx);
    }

    // --- before registration is complete ---

    /// Values set before there is anybody to have them.
    fn meta_early(&mut self, meta: Meta, cx: &mut Cx<'_>) {
        let values: Values = self.early.iter().cloned().collect();
        match meta.verb {
            MetaVerb::Set => {
                let change = meta_change(&meta);
                if self.early.len() >= METADATA_KEYS {
                    let text = "You have set too many keys";
                    return self.fail(cx, "METADATA", "LIMIT_REACHED", &[&meta.target], text);
                }
                for (key, value) in change {
                    self.early.retain(|(old, _)| *old != key);
                    self.meta_line(&meta.target, &key, &value, "", cx);
                    if !value.is_empty() {
                        self.early.push((key, value));
                    }
                }
            }
            MetaVerb::Clear => {
                let gone = std::mem::take(&mut self.early);
                self.meta_cleared(&meta.target, &gone, cx);
            }
            MetaVerb::Get | MetaVerb::List | MetaVerb::Sync => self.meta_tell(&meta, &values, cx),
        }
    }

    /// In the welcome: what was set early becomes the account's; then its values are told. False: nothing to wait for.
    pub(super) fn meta_burst(&mut self, cx: &mut Cx<'_>) -> bool {
        let Some(user) = self.user.clone().filter(|_| self.has_metadata()) else { return false };
        let early = std::mem::take(&mut self.early);
        if !early.is_empty() {
            let act = Act::SetAttrs { values: stored(&early), tell: Audience::Own, native: None };
            cx.command(Command::by(&user, EntityId::Account(user.id), act), false);
        }
        let req = cx.query(Query::Account(user.id));
        self.ask(req, Ask::MetaBurst);
        true
    }

    pub(super) fn meta_own(&mut self, account: Option<&Account>, cx: &mut Cx<'_>) {
        let target = self.target().to_owned();
        let values = account.map(|a| public(&a.attrs)).unwrap_or_default();
        let tags = self.meta_open(&target, cx);
        for (key, value) in &values {
            self.meta_line(&target, key, value, &tags, cx);
        }
        self.meta_close(&tags, cx);
        self.motd(cx);
        self.after_motd(cx);
    }

    // --- subscriptions ---

    fn meta_sub(&mut self, keys: &[String], cx: &mut Cx<'_>) {
        let (mut good, mut full) = (Vec::new(), None);
        for key in keys {
            if !is_key(key) {
                self.fail(cx, "METADATA", "KEY_INVALID", &[key], "That is not a valid key");
            } else if self.subs.len() >= METADATA_SUBS && !self.subs.contains(key.as_str()) {
                full = Some(key.clone());
                break;
            } else {
                self.subs.insert(Str::new(key));
                good.push(key.as_str());
            }
        }
        if !good.is_empty() {
            self.numeric(cx, n::RPL_METADATASUBOK, &good);
            let channels: Vec<Str> = self.rooms.iter().map(|(_, c)| c.name.clone()).collect();
            for channel in channels {
                self.numeric(cx, n::RPL_METADATASYNCLATER, &[&channel]);
            }
        }
        if let Some(key) = full {
            self.fail(cx, "METADATA", "TOO_MANY_SUBS", &[&key], "You have subscribed to too many keys");
        }
        cx.mode_changed();
    }

    fn meta_unsub(&mut self, keys: &[String], cx: &mut Cx<'_>) {
        let mut good = Vec::new();
        for key in keys {
            if is_key(key) {
                self.subs.remove(key.as_str());
                good.push(key.as_str());
            } else {
                self.fail(cx, "METADATA", "KEY_INVALID", &[key], "That is not a valid key");
            }
        }
        if !good.is_empty() {
            self.numeric(cx, n::RPL_METADATAUNSUBOK, &good);
        }
        cx.mode_changed();
    }

    fn meta_subs(&mut self, cx: &mut Cx<'_>) {
        let name = format!("d{}", self.counter);
        self.counter = self.counter.wrapping_add(1);
        let (server, label) = (server(cx), self.own_batch_tags());
        let open = one(|w| {
            w.raw_tags(&label).source(server).command("BATCH").param(&format!("+{name}"));
            w.param("metadata-subs").end();
        });
        self.emit(&open, cx);
        for key in self.subs.clone() {
            let line = one(|w| {
                w.tag("batch", &name).source(server);
                w.numeric(n::RPL_METADATASUBS, self.target()).param(&key).end();
            });
            self.emit(&line, cx);
        }
        self.meta_close(&tag("batch", &name), cx);
    }

    // --- what others are told ---

    /// A channel was entered: the values subscribed to, of the channel and of who is there.
    pub(super) fn meta_after_join(&mut self, view: &RoomView, channel: &str, cx: &mut Cx<'_>) {
        if self.subs.is_empty() || !self.has_metadata() {
            return;
        }
        if joined(view).count() > MEMBERS_TOLD {
            return self.numeric(cx, n::RPL_METADATASYNCLATER, &[channel]);
        }
        self.meta_sync(view, channel, false, cx);
    }

    /// The values subscribed to; the members' follow as their accounts are read.
    fn meta_sync(&mut self, view: &RoomView, channel: &str, batch: bool, cx: &mut Cx<'_>) {
        let tags = if batch { self.meta_open(channel, cx) } else { String::new() };
        for (key, value) in public(&view.attrs) {
            if self.subs.contains(key.as_str()) {
                self.meta_line(channel, &key, &value, &tags, cx);
            }
        }
        let users: Vec<User> = joined(view).map(|m| m.user.clone()).take(MEMBERS_TOLD).collect();
        if batch && users.is_empty() {
            return self.meta_close(&tags, cx);
        }
        if batch {
            self.gather(users.len());
        }
        for user in users {
            let req = cx.query(Query::Account(user.id));
            self.ask(req, Ask::MetaMember { user, tags: tags.clone() });
        }
    }

    /// A member's account is read.
    pub(super) fn meta_member(
        &mut self,
        user: &User,
        account: Option<&Account>,
        tags: &str,
        cx: &mut Cx<'_>,
    ) {
        let values = account.map(|a| public(&a.attrs)).unwrap_or_default();
        for (key, value) in &values {
            if self.subs.contains(key.as_str()) {
                self.meta_line(user.name.as_str(), key, value, tags, cx);
            }
        }
        if tags.is_empty() {
            return;
        }
        if let Some((at, true)) = self.gathered() {
            self.gathers.remove(at);
            self.meta_close(tags, cx);
        }
    }

    /// Values of one's own account changed, by another session or protocol.
    pub(super) fn meta_changed(&mut self, from: &User, values: &[(Str, Octets)], cx: &mut Cx<'_>) {
        if self.user.as_ref().is_none_or(|me| me.id != from.id) {
            return;
        }
        self.learn_name(values, cx);
        if self.subs.is_empty() {
            return;
        }
        let settings = SettingsOf(cx.settings());
        let view = View { caps: self.shown_caps(), settings: &settings, target: "*", tags: "" };
        let mut out = render::Direct::new(self.target());
        for (key, value) in values {
            render::metadata(&view, from.name.as_str(), key, value, &mut out);
        }
        cx.write(&out.out, false);
    }

    /// The display name is the account's, where it has one.
    pub(super) fn learn_name(&mut self, values: &[(Str, Octets)], cx: &mut Cx<'_>) {
        let found = values.iter().find(|(key, value)| key == DISPLAY_NAME && !value.is_empty());
        if let Some(name) = found.and_then(|(_, value)| std::str::from_utf8(value).ok()) {
            self.real = Str::name(cut(name, REAL_MAX));
            cx.display(self.real.clone());
        }
    }

    /// 760 of WHOIS.
    pub(super) fn meta_whois(&mut self, nick: &str, account: &Account, cx: &mut Cx<'_>) {
        for (key, value) in public(&account.attrs) {
            self.numeric_text(cx, n::RPL_WHOISKEYVALUE, &[nick, &key, "*"], &value);
        }
    }

    /// Whether WHOIS tells values, and of whom they are asked.
    pub(super) fn meta_of(&self, id: AccountId) -> Option<Query> {
        self.has_metadata().then_some(Query::Account(id))
    }
}

/// What SET changes.
fn meta_change(meta: &Meta) -> Vec<(String, String)> {
    let value = meta.params.get(1).cloned().unwrap_or_default();
    meta.params.first().map(|key| (key.clone(), value)).into_iter().collect()
}

/// The public values among all.
fn public(attrs: &BTreeMap<Str, Octets>) -> Values {
    let text = |v: &Octets| String::from_utf8(v.to_vec()).ok();
    attrs.iter().filter_map(|(k, v)| Some((k.strip_prefix(PUBLIC)?.to_owned(), text(v)?))).collect()
}

/// Changes as they are stored.
fn stored(changes: &[(String, String)]) -> Vec<(Str, Octets)> {
    let one =
        |(k, v): &(String, String)| (Str::new(format!("{PUBLIC}{k}")), Octets::from(v.as_bytes().to_vec()));
    changes.iter().map(one).collect()
}

/// A key: `a-z 0-9 _ . / -`.
fn is_key(key: &str) -> bool {
    let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_./-".contains(&b);
    !key.is_empty() && key.len() <= METADATA_VALUE && key.bytes().all(fine)
}

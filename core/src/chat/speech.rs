//! What is said: messages, edits, redactions, reactions.

use super::{
    DONE, Done, Draft, Follow, KEY_MAX, Verdict, at_most, follows_of,
    room::{Room, need},
};
use crate::{
    command::{EntityId, ReactMode, Target},
    event::{Actor, Event, Message, Native, What},
    ids::{MsgId, Pos, RoomId},
    name::User,
    policy::{MaskKind, Member, Membership, Policy, Standing, glob, power},
    refusal::Refusal,
    row::{Change, Closed, RoomHead},
    seal::Seal,
    settings::Settings,
    text::Str,
};
use alloc::{boxed::Box, sync::Arc, vec::Vec};

/// Bytes of one reaction (an emoji or a short name); above: refused.
pub const REACTION_MAX: usize = 64;

impl Room {
    pub(super) fn say(
        &mut self,
        message: &Message,
        subject: &str,
        parties: Option<&(User, User)>,
        draft: &mut Draft<'_>,
    ) -> Done {
        let message = checked(message, draft.settings)?;
        match &self.head {
            Some(head) if head.destroyed => return Err(Refusal::NoSuchRoom),
            Some(_) => self.check_voice(Some(subject), draft)?,
            None => self.open_dialog(parties.ok_or(Refusal::NoSuchRoom)?, draft)?,
        }
        let message = self.answering(message, &draft.entry.command.by);
        let loops = self.loops(&message.body.text, draft);
        self.emit(draft, What::Said(Box::new(message)));
        if loops {
            self.stop_loop(draft);
        }
        Ok(self.feed(draft))
    }

    /// The message with both names of the one it answers: the room's, and that of its author's client.
    fn answering(&self, mut message: Message, by: &Actor) -> Message {
        let here = message.reply.filter(|id| id.room == self.id);
        match (here, &message.reply_client_id) {
            (Some(id), _) => {
                message.reply_client_id = self.entry(id.pos).and_then(|e| e.client_id().cloned());
            }
            (None, Some(name)) => {
                let named = self.place_of(name, by).map(|pos| MsgId { room: self.id, pos });
                message.reply = named.or(message.reply);
            }
            (None, None) => {}
        }
        message
    }

    /// The first message makes the dialog. Both parties belong to it from then on.
    pub(super) fn open_dialog(
        &mut self,
        parties: &(User, User),
        draft: &mut Draft<'_>,
    ) -> Result<(), Refusal> {
        let (a, b) = parties;
        let by = &draft.entry.command.by;
        let same = RoomId::dialog(a.id, b.id, draft.settings.shards) == self.id;
        if !same || !(*by == Actor::Server || by.is(a.id) || by.is(b.id)) {
            return Err(Refusal::Forbidden);
        }
        let head = RoomHead {
            name: None,
            policy: Policy { secret: true, ..Policy::default() },
            created: draft.entry.at,
            parties: Some(parties.clone()),
            destroyed: false,
            open: None,
            known: None,
            closed: Closed::default(),
        };
        draft.change(Change::Room(self.id, Some(head.clone())));
        self.head = Some(head);
        for user in [a, b] {
            if self.members.contains_key(&user.id) {
                continue;
            }
            let standing = Standing { membership: Membership::Joined, power: power::NORMAL };
            let row = Member::new(user.clone(), standing, draft.entry.first, draft.entry.at);
            self.put_member(draft, user.id, Some(row));
        }
        Ok(())
    }

    /// May the actor speak? Voice and every rank above it overrule a mute mask.
    fn check_voice(&self, subject: Option<&str>, draft: &Draft<'_>) -> Result<(), Refusal> {
        let by = &draft.entry.command.by;
        let dialog = self.is_dialog();
        let policy = self.policy();
        let own = match self.member_power(by) {
            Err(_) if dialog => return Err(Refusal::NoSuchRoom),
            Err(Refusal::NotMember) if policy.outsiders && !self.is_banned(by, subject) => {
                policy.levels.users
            }
            own => own?,
        };
        if dialog {
            return Ok(());
        }
        let guest = by.user().is_some_and(User::is_guest);
        if own < policy.levels.speak || (policy.accounts_speak && guest && own < power::VOICE) {
            return Err(Refusal::Muted);
        }
        let muted = own < power::VOICE && self.fits(MaskKind::Mute, subject);
        if muted && !self.fits(MaskKind::MuteExcept, subject) { Err(Refusal::Muted) } else { Ok(()) }
    }

    fn fits(&self, kind: MaskKind, subject: Option<&str>) -> bool {
        self.masks.iter().any(|m| m.kind == kind && subject.is_some_and(|s| glob(&m.mask, s)))
    }

    /// Shut out, by account or mask: then not even from outside may one speak.
    fn is_banned(&self, by: &Actor, subject: Option<&str>) -> bool {
        let account = by.user().is_some_and(|u| self.standing(u.id).membership == Membership::Banned);
        account || (self.fits(MaskKind::Ban, subject) && !self.fits(MaskKind::BanExcept, subject))
    }

    /// In a dialog, the new entries go into the parties' feeds, and the actor's own feed answers: no session
    /// is attached to a dialog, so the entry comes back to the one who waits by that way.
    pub(super) fn feed(&self, draft: &mut Draft<'_>) -> Verdict {
        let Some(head) = self.head.as_ref().filter(|h| h.parties.is_some()) else { return Verdict::ByEvent };
        let by = draft.entry.command.by.user().map(|u| EntityId::Account(u.id));
        let commands: Vec<_> = draft.out.events.iter().flat_map(|e| follows_of(e, head)).collect();
        let answer = commands.iter().rposition(|c| Some(&c.to) == by.as_ref());
        let follow = |(n, command)| Follow { command, answers: Some(n) == answer, derived: true };
        draft.out.follow.extend(commands.into_iter().enumerate().map(follow));
        if answer.is_some() { Verdict::Follow } else { Verdict::ByEvent }
    }

    /// The message (or, with `edits`, the edit of one) that is meant, if the actor may see it.
    fn target(&self, target: &Target, by: &Actor, edits: bool) -> Result<Arc<Event>, Refusal> {
        let fits = |e: &&Arc<Event>| match e.what {
            What::Said(_) => true,
            What::Edited { .. } => edits,
            _ => false,
        };
        let found = match target {
            Target::Pos(pos) => self.entry(*pos).filter(fits),
            Target::ClientId(id) => self.named(id).find(|e| e.by == *by),
            Target::Named(id) => self.named(id).next(),
        };
        let event = found.cloned().ok_or(Refusal::NoSuchItem)?;
        match by.user().map(|u| self.readable(u.id)) {
            None => Ok(event),
            Some(Some(readable)) if readable.has(event.pos) => Ok(event),
            Some(_) => Err(Refusal::NoSuchItem),
        }
    }

    /// The latest messages that their authors' clients named so, the last one first.
    fn named(&self, id: &Str) -> impl Iterator<Item = &Arc<Event>> {
        let said = |e: &&Arc<Event>| matches!(e.what, What::Said(_)) && e.client_id() == Some(id);
        self.tail.iter().rev().filter(said)
    }

    /// Where the message is that its author's client named so, if the actor may see it.
    pub(super) fn place_of(&self, name: &Str, by: &Actor) -> Option<Pos> {
        self.target(&Target::Named(name.clone()), by, false).ok().map(|event| event.pos)
    }

    pub(super) fn edit(&mut self, target: &Target, message: &Message, draft: &mut Draft<'_>) -> Done {
        let message = checked(message, draft.settings)?;
        self.check_voice(None, draft)?;
        let by = &draft.entry.command.by;
        let old = self.target(target, by, false)?;
        if old.by != *by {
            return Err(Refusal::Forbidden);
        }
        if matches!(&old.what, What::Said(m) if m.gone) {
            return Err(Refusal::NoSuchItem);
        }
        let target_client_id = old.client_id().cloned();
        self.emit(draft, What::Edited { target: old.pos, message: Box::new(message), target_client_id });
        Ok(self.feed(draft))
    }

    /// Withdraws a message: its content, and that of its edits, is gone from history. Withdrawing an
    /// edit leaves the message with what it was before. Who may: the author, and whoever has the power; in a dialog only the author.
    pub(super) fn redact(
        &mut self,
        target: &Target,
        reason: &Option<Str>,
        native: Option<&Native>,
        draft: &mut Draft<'_>,
    ) -> Done {
        let by = draft.entry.command.by.clone();
        self.member_power(&by)?;
        let old = self.target(target, &by, true)?;
        self.may_withdraw(&old, &by)?;
        let (What::Said(message) | What::Edited { message, .. }) = &old.what else {
            return Err(Refusal::NoSuchItem);
        };
        if message.gone {
            return Ok(DONE);
        }
        let edit = |e: &&Arc<Event>| matches!(e.what, What::Edited { target, .. } if target == old.pos);
        let near = self.tail.iter().filter(edit).chain([&old]);
        let near = near.filter_map(|e| self.emptied(e, draft.settings));
        // Those that had to be read came without what they said.
        let far = self.lent.iter().filter_map(|(_, e)| e.as_ref()).filter(edit).cloned();
        let hollow: Vec<Arc<Event>> = near.chain(far).collect();
        let what = What::Redacted {
            target: old.pos,
            reason: reason.clone(),
            author: old.by.clone(),
            target_client_id: message.client_id.clone(),
            native: draft.native(native),
        };
        for event in hollow {
            if let Some(place) = self.tail.iter_mut().find(|e| e.pos == event.pos) {
                *place = event.clone();
            }
            draft.change(Change::Rewrite(event));
        }
        self.emit(draft, what);
        Ok(self.feed(draft))
    }

    /// Whether somebody may withdraw an entry: his own, or with the power others'.
    pub(super) fn may_withdraw(&self, old: &Event, by: &Actor) -> Result<(), Refusal> {
        let own = self.member_power(by)?;
        match self.is_dialog() {
            _ if old.by == *by => Ok(()),
            true if *by != Actor::Server => Err(Refusal::Forbidden),
            _ => need(own, self.policy().levels.redact),
        }
    }

    /// The entry without its content, but with what is kept of that where entries are sealed.
    pub(super) fn emptied(&self, event: &Event, settings: &Settings) -> Option<Arc<Event>> {
        let seals = settings.seals.filter(|_| event.seal(0).is_some());
        emptied(event, seals.and_then(|seals| (seals.left)(self, event, 0, settings)))
    }

    /// The actor's reactions to a message. They are all known while the message itself is in `tail`; of
    /// an older message, those in `tail`.
    pub(super) fn reactions(&self, target: Pos, by: &Actor) -> Vec<Str> {
        let latest = self.tail.iter().rev().find_map(|e| match &e.what {
            What::Reacted { target: t, now, .. } if *t == target && e.by == *by => Some(now.clone()),
            What::Withdrawn { reaction: Some(r), .. } if r.target == target && r.by == *by => {
                Some(r.now.clone())
            }
            _ => None,
        });
        latest.unwrap_or_default()
    }

    /// Whether every entry since this one is in memory.
    pub(super) fn knows_since(&self, pos: Pos) -> bool {
        self.tail.front().is_some_and(|first| first.pos <= pos)
    }

    /// One entry a reaction added or taken back.
    pub(super) fn react(
        &mut self,
        target: &Target,
        keys: &[Str],
        mode: ReactMode,
        native: Option<&Native>,
        draft: &mut Draft<'_>,
    ) -> Done {
        self.check_voice(None, draft)?;
        let by = draft.entry.command.by.clone();
        let old = self.target(target, &by, false)?;
        if matches!(&old.what, What::Said(m) if m.gone) {
            return Err(Refusal::NoSuchItem);
        }
        let keys = distinct(keys, draft.settings)?;
        let mut now = self.reactions(old.pos, &by);
        let whole = self.knows_since(old.pos);
        let steps = steps(&now, &keys, mode, whole);
        let after = steps.iter().filter(|(_, on)| *on).count() + now.len();
        let taken = steps.iter().filter(|(k, on)| !*on && now.contains(k)).count();
        if after - taken > draft.settings.limits.reactions {
            return Err(Refusal::TooMany);
        }
        let Some(last) = steps.len().checked_sub(1) else { return Ok(DONE) };
        for (i, (key, on)) in steps.into_iter().enumerate() {
            match on {
                true => now.push(key.clone()),
                false => now.retain(|k| *k != key),
            }
            // The wire form says it all, so it goes with the last step.
            let native = native.filter(|n| i == last && n.bytes.len() <= draft.settings.limits.native);
            let (now, native) = (now.clone(), native.cloned());
            let target_client_id = old.client_id().cloned();
            let what = What::Reacted { target: old.pos, key, on, now, native, target_client_id };
            self.emit(draft, what);
        }
        Ok(self.feed(draft))
    }
}

/// The single steps from the reactions there are to those wanted. Of an old message not all may be
/// known: then taking one back is believed.
fn steps(now: &[Str], keys: &[Str], mode: ReactMode, known: bool) -> Vec<(Str, bool)> {
    let off = |k: &&Str| match mode {
        ReactMode::Add => false,
        ReactMode::Remove => keys.contains(k),
        ReactMode::Replace => !keys.contains(k),
    };
    let mut out: Vec<(Str, bool)> = now.iter().filter(off).map(|k| (k.clone(), false)).collect();
    match mode {
        ReactMode::Remove if !known => {
            out.extend(keys.iter().filter(|k| !now.contains(k)).map(|k| (k.clone(), false)));
        }
        ReactMode::Remove => {}
        ReactMode::Add | ReactMode::Replace => {
            out.extend(keys.iter().filter(|k| !now.contains(k)).map(|k| (k.clone(), true)));
        }
    }
    out
}

/// The reactions named, each once.
fn distinct(keys: &[Str], settings: &Settings) -> Result<Vec<Str>, Refusal> {
    if keys.len() > settings.limits.reactions {
        return Err(Refusal::TooMany);
    }
    let mut out: Vec<Str> = Vec::new();
    for key in keys {
        at_most(key, REACTION_MAX)?;
        if key.is_empty() {
            return Err(Refusal::Invalid("empty reaction"));
        }
        if !out.contains(key) {
            out.push(key.clone());
        }
    }
    Ok(out)
}

/// The message within the limits: what is too long is refused, a wire form too long is left out.
fn checked(message: &Message, settings: &Settings) -> Result<Message, Refusal> {
    at_most(&message.body.text, settings.limits.text)?;
    let names = [&message.client_id, &message.to, &message.from, &message.sort, &message.reply_client_id];
    for label in names {
        at_most(label.as_deref().unwrap_or(""), KEY_MAX)?;
    }
    if let Some(file) = &message.file {
        for text in [&file.name, &file.kind, &file.link] {
            at_most(text, KEY_MAX)?;
        }
    }
    let mut message = message.clone();
    message.gone = false;
    if let Some(file) = &mut message.file {
        file.name = Str::name(&file.name);
    }
    message.native = message.native.filter(|n| n.bytes.len() <= settings.limits.native);
    if message.body.text.is_empty() && message.native.is_none() {
        return Err(Refusal::Invalid("empty message"));
    }
    let len = message.body.text.len();
    let text = message.body.text.clone();
    // Spans come from outside too: what does not lie on the text's characters is no span of it.
    message.body.spans.retain(|s| {
        let (from, to) = (s.from as usize, s.to as usize);
        from < to && to <= len && text.is_char_boundary(from) && text.is_char_boundary(to)
    });
    Ok(message)
}

/// The same entry without its content; how its author's client named it stays, for protocols that
/// refer to it so.
fn emptied(event: &Event, left: Option<Seal>) -> Option<Arc<Event>> {
    let hollow = |m: &Message| {
        Box::new(Message {
            kind: m.kind,
            client_id: m.client_id.clone(),
            to: m.to.clone(),
            from: m.from.clone(),
            sort: m.sort.clone(),
            gone: true,
            ..Message::default()
        })
    };
    let what = match &event.what {
        What::Said(m) => What::Said(hollow(m)),
        What::Edited { target, message, target_client_id } => What::Edited {
            target: *target,
            message: hollow(message),
            target_client_id: target_client_id.clone(),
        },
        _ => return None,
    };
    let mut hollow = Event { what, ..event.clone() };
    if let Some(sealed) = &mut hollow.sealed {
        sealed.content = None;
        if sealed.left(0).is_none() {
            sealed.gone.extend(left.map(|left| (0, left)));
        }
    }
    Some(Arc::new(hollow))
}

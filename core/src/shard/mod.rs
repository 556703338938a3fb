//! The shards of a worker: entities, their durable and live parts, and the order of what they do.
//!
//! Each shard counts its own positions. An entity that is not in memory is read first; what concerns
//! it waits meanwhile, bounded.

mod doubt;
mod execute;
pub(crate) mod ledger;
mod live;
mod query;
mod recover;
mod watch;

use crate::{
    chat::Entity,
    command::{Command, EntityId},
    event::Event,
    ids::{FetchId, Origin, Pos, RoomId, SessionRef, ShardId, Ticket, WorkerId},
    mail::{Attacher, Mail, RoomSignal},
    name::User,
    post::Post,
    presence::Presence,
    query::{Query, Range, Reply, RoomView},
    refusal::Refusal,
    row::{Asked, Page, Read},
    settings::Settings,
    time::Now,
    vecmap::VecMap,
};
use alloc::{
    boxed::Box,
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    vec::Vec,
};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use ledger::Ledger;

/// What shards act upon besides themselves.
pub(crate) struct Desk<'a> {
    pub now: Now,
    pub settings: &'a Settings,
    pub ledger: &'a mut Ledger,
    pub post: &'a mut Post,
    pub reads: &'a mut VecDeque<Asked>,
}

/// All shards of one worker.
pub(crate) struct Shards {
    shards: BTreeMap<ShardId, Shard>,
    /// Some of them do not know their head yet.
    loading: bool,
    /// Looked up only, never iterated; the hasher is fixed.
    slots: HashMap<EntityId, Box<Slot>, FixedState>,
    /// The hand that looks for idle entities goes round here.
    clock: VecDeque<EntityId>,
    fetches: BTreeMap<FetchId, Fetching>,
    next_fetch: u64,
    grants: u64,
    same: u64,
    /// Mail that waits until its shard knows its head.
    early: VecDeque<Mail>,
}

/// One shard.
struct Shard {
    next: Pos,
    /// Known after the first read.
    loaded: bool,
    /// Follow-ups on their way, by the position they follow from.
    following: BTreeMap<Pos, u32>,
    /// All follow-ups up to here are carried out; written now and then.
    followed: Pos,
    unsaved: u32,
    /// Some of them are stored and wait to be taken out.
    lasting: bool,
}

/// An entity in memory, or on its way.
struct Slot {
    entity: Option<Entity>,
    /// A read is under way; work waits.
    reading: bool,
    waiting: VecDeque<Work>,
    live: Live,
    /// The last append that concerns it.
    ticket: Ticket,
}

impl Slot {
    /// Nobody would miss it in memory.
    fn is_idle(&self, desk: &Desk<'_>) -> bool {
        !self.reading
            && self.waiting.is_empty()
            && self.live.is_empty()
            && desk.ledger.is_stored(self.ticket)
            && !self.entity.as_ref().is_some_and(Entity::is_pinned)
    }
}

/// The part of an entity that is never stored.
#[derive(Default)]
struct Live {
    /// Workers with attached sessions, and the last grant given to each.
    attached: VecMap<WorkerId, u64>,
    /// Members that are there.
    here: BTreeMap<crate::ids::AccountId, (User, Presence)>,
    /// The room as last shown, until something changes.
    view: Option<Arc<RoomView>>,
    /// What a failure of the store has left behind.
    unsure: Option<Box<doubt::Unsure>>,
    /// Subscribed sessions of an account.
    sessions: VecMap<SessionRef, Subscribed>,
    /// Who the sessions belong to.
    user: Option<Box<User>>,
    /// What strangers see of an account, as last told to its name.
    shown: Option<Arc<crate::presence::Sighting>>,
    /// Who watches a name, what they see, and who was there.
    watch: Option<Box<watch::Watch>>,
}

/// A subscribed session of an account.
struct Subscribed {
    label: crate::ids::Label,
    /// `None`: it has said nothing of it.
    presence: Option<Presence>,
    display: crate::text::Str,
}

impl Live {
    fn is_empty(&self) -> bool {
        let unknown = self.doubts();
        let alone = self.attached.is_empty() && self.here.is_empty() && self.sessions.is_empty();
        alone && self.watch.as_ref().is_none_or(|w| w.is_idle()) && !unknown
    }
}

/// Something to be done with an entity.
enum Work {
    Command(Box<Order>),
    Query(Origin, Box<Query>),
    Attach {
        since: Option<Pos>,
        who: Box<Attacher>,
    },
    Detach {
        worker: WorkerId,
        grant: u64,
    },
    Here {
        user: User,
        presence: Option<Presence>,
        same: u64,
    },
    Signal {
        origin: Option<Origin>,
        by: User,
        what: RoomSignal,
        same: u64,
    },
    Present {
        session: SessionRef,
        user: User,
        label: crate::ids::Label,
        presence: Option<Box<Presence>>,
        display: crate::text::Str,
        silent: bool,
        same: u64,
    },
    Displayed {
        session: SessionRef,
        display: crate::text::Str,
        same: u64,
    },
    Sighted {
        of: crate::ids::AccountId,
        now: Option<Arc<crate::presence::Sighting>>,
        hidden_from: Vec<crate::text::Str>,
        same: u64,
    },
    Watch {
        session: SessionRef,
        by: crate::name::UserName,
        on: bool,
    },
    Probe {
        by: User,
    },
    SignalTo(Origin, Box<crate::projection::Signal>),
    /// Derive a dialog entry's follow-ups again.
    Derive(Arc<Event>),
    /// Find out what of that in doubt is stored, and show it.
    CatchUp,
}

/// A command with all that came with it.
struct Order {
    command: Box<Command>,
    origin: Option<Origin>,
    attach: Option<Box<Attacher>>,
    from: Option<(ShardId, Pos)>,
    again: bool,
    /// So many older entries that it needs were read already.
    read: u8,
}

impl Order {
    /// As it came, when it comes from nowhere in particular.
    fn into_mail(self, epoch: crate::ids::Epoch) -> Mail {
        let Order { command, origin, attach, from, again, .. } = self;
        Mail::Follow { epoch, from, again, origin, attach, command }
    }
}

/// What a read under way is for.
enum Fetching {
    Heads,
    Entity(EntityId),
    /// An older entry that a command needs.
    Older(EntityId, Pos),
    /// The edits of a message that is to be withdrawn.
    Edits(RoomId, Pos),
    /// Whether an entry derived again is in the account's feed.
    Fed(EntityId, RoomId, Pos),
    /// The entries an attach has missed.
    Replay {
        room: RoomId,
        who: Box<Attacher>,
    },
    /// Which of the entries in doubt are stored.
    CatchUp(EntityId),
    /// An answer to a question.
    Answer(Origin),
    /// The public list: rooms in memory found so far.
    Directory(Origin, Vec<crate::query::Listed>, u32),
    Counts(Origin, crate::query::Counts),
    /// The rooms of an account that is renamed or deleted.
    Sweep {
        user: User,
        gone: bool,
        /// What it follows from: done when all rooms are.
        from: Option<(ShardId, Pos)>,
    },
}

impl Shards {
    pub fn new(post: &Post) -> Shards {
        let fresh = || Shard {
            next: Pos(1),
            loaded: false,
            following: BTreeMap::new(),
            followed: Pos::ZERO,
            unsaved: 0,
            lasting: false,
        };
        Shards {
            shards: post.own_shards().map(|s| (s, fresh())).collect(),
            loading: true,
            slots: HashMap::with_hasher(FixedState::with_seed(u64::from(post.me.0))),
            clock: VecDeque::new(),
            fetches: BTreeMap::new(),
            next_fetch: 0,
            grants: 0,
            same: u64::from(post.me.0) << 56,
            early: VecDeque::new(),
        }
    }

    /// A number that no other happening has.
    pub fn fresh_same(&mut self) -> u64 {
        self.same += 1;
        self.same
    }

    fn ask(&mut self, desk: &mut Desk<'_>, read: Read, why: Fetching) {
        self.next_fetch += 1;
        let id = FetchId(self.next_fetch);
        self.fetches.insert(id, why);
        desk.reads.push_back(Asked { id, read });
    }

    /// Takes mail for a shard; gives back what is not.
    pub fn mail(&mut self, desk: &mut Desk<'_>, mail: Mail) -> Option<Mail> {
        if self.loading && is_for_shard(&mail) {
            if self.early.len() < desk.settings.limits.mailbox {
                self.early.push_back(mail);
            } else if let Some(mail) = self.refuse_early(desk, mail) {
                self.early.push_back(mail);
            }
            return None;
        }
        if let Mail::Command { epoch, .. } | Mail::Follow { epoch, .. } = &mail
            && *epoch > desk.ledger.epoch
        {
            // The sender has heard of the next epoch already; here it begins soon.
            self.early.push_back(mail);
            return None;
        }
        match mail {
            Mail::Command { epoch, origin, attach, command } => {
                let order =
                    Order { command, origin: Some(origin), attach, from: None, again: false, read: 0 };
                if epoch < desk.ledger.epoch && desk.ledger.down.is_some() {
                    self.refuse(desk, origin, Refusal::StoreDown);
                } else {
                    self.work(desk, order.command.to.clone(), Work::Command(Box::new(order)));
                }
            }
            Mail::Follow { epoch, from, again, origin, attach, command } => {
                if epoch < desk.ledger.epoch && (from.is_some() || origin.is_some()) {
                    // What it follows from may not be stored. If it is, it is derived again by the shard it came
                    // from, but nobody knows then who waits.
                    origin.into_iter().for_each(|o| self.refuse(desk, o, Refusal::StoreDown));
                } else {
                    let to = command.to.clone();
                    self.work(
                        desk,
                        to,
                        Work::Command(Box::new(Order { command, origin, attach, from, again, read: 0 })),
                    );
                }
            }
            Mail::FollowDone(epoch, shard, pos) => {
                // One of an older epoch has been derived again since.
                if epoch == desk.ledger.epoch {
                    self.follow_done(desk, shard, pos);
                }
            }
            Mail::Query(origin, query) => self.question(desk, origin, query),
            Mail::Read(origin, read) => self.ask(desk, *read, Fetching::Answer(origin)),
            Mail::Attach { room, since, who } => {
                self.work(desk, EntityId::Room(room), Work::Attach { since, who })
            }
            Mail::Detach { room, worker, grant } => {
                self.work_if_there(desk, EntityId::Room(room), Work::Detach { worker, grant });
            }
            Mail::Here { room, user, presence, same } => {
                self.work_if_there(desk, EntityId::Room(room), Work::Here { user, presence, same });
            }
            Mail::Signal { room, origin, by, what, same } => {
                self.work(desk, EntityId::Room(room), Work::Signal { origin, by, what, same });
            }
            Mail::Present { user, session, label, presence, display, silent, same } => {
                let to = EntityId::Account(user.id);
                let work = Work::Present { session, user, label, presence, display, silent, same };
                self.work(desk, to, work);
            }
            Mail::Displayed { account, session, display, same } => {
                let work = Work::Displayed { session, display, same };
                self.work_if_there(desk, EntityId::Account(account), work);
            }
            Mail::Sighted { name, of, now, hidden_from, same } => {
                let to = EntityId::Name(crate::name::NameKey::User(name));
                self.work(desk, to, Work::Sighted { of, now, hidden_from, same });
            }
            Mail::Watch { name, session, by, on } => {
                let to = EntityId::Name(crate::name::NameKey::User(name));
                self.work(desk, to, Work::Watch { session, by, on });
            }
            Mail::Probe { account, by } => {
                self.work_if_there(desk, EntityId::Account(account), Work::Probe { by })
            }
            Mail::SignalTo(origin, signal) => {
                self.work(desk, EntityId::Account(signal.to), Work::SignalTo(origin, signal));
            }
            Mail::Round(origin, round) => self.round(desk, origin, round),
            other => return Some(other),
        }
        None
    }

    /// Refuses mail that came too early, when there is too much of it; gives back what is never refused.
    fn refuse_early(&mut self, desk: &mut Desk<'_>, mail: Mail) -> Option<Mail> {
        let origin = match &mail {
            Mail::Command { origin, .. } | Mail::Query(origin, _) | Mail::SignalTo(origin, _) => {
                Some(*origin)
            }
            Mail::Follow { from: None, origin, .. } => *origin,
            Mail::Signal { origin: None, .. } | Mail::Probe { .. } => return None,
            Mail::Signal { origin, .. } => *origin,
            Mail::Attach { room, who, .. } => {
                refuse_attach(desk, *room, who, Refusal::Busy);
                return None;
            }
            _ => None,
        };
        let Some(origin) = origin else { return Some(mail) };
        self.refuse(desk, origin, Refusal::Busy);
        None
    }

    /// Does the work now, or when the entity is there.
    fn work(&mut self, desk: &mut Desk<'_>, id: EntityId, work: Work) {
        if !self.slots.contains_key(&id) {
            // Before it is put in: it would seem idle itself.
            self.evict(desk);
            let transient = id.is_transient();
            let entity = transient.then(|| Entity::fresh(&id));
            let slot = Slot {
                entity,
                reading: false,
                waiting: VecDeque::new(),
                live: Live::default(),
                ticket: Ticket(0),
            };
            self.slots.insert(id.clone(), Box::new(slot));
            self.clock.push_back(id.clone());
        }
        let Some(slot) = self.slots.get_mut(&id) else { return };
        if slot.entity.is_some() && !slot.reading && slot.waiting.is_empty() {
            self.perform(desk, &id, work);
        } else if slot.waiting.len() >= desk.settings.limits.waiting && refusable(&work) {
            self.refuse_work(desk, &id, work, Refusal::Busy);
        } else {
            slot.waiting.push_back(work);
            if slot.entity.is_none() && !slot.reading {
                slot.reading = true;
                let read = match &id {
                    EntityId::Name(n) => Read::Name(n.clone()),
                    EntityId::Account(a) => Read::Account(*a),
                    EntityId::Room(r) => Read::Room(*r, desk.settings.limits.tail as u32),
                };
                self.ask(desk, read, Fetching::Entity(id));
            } else {
                // A read that failed is tried again.
                self.resume(desk, &id);
            }
        }
    }

    /// Work that is void when nobody knows the entity.
    fn work_if_there(&mut self, desk: &mut Desk<'_>, id: EntityId, work: Work) {
        if self.slots.contains_key(&id) {
            self.work(desk, id, work);
        }
    }

    /// Does what waited, until something must be read again.
    fn resume(&mut self, desk: &mut Desk<'_>, id: &EntityId) {
        while let Some(slot) = self.slots.get_mut(id) {
            if slot.reading || slot.entity.is_none() {
                return;
            }
            let Some(work) = slot.waiting.pop_front() else { return };
            if slot.waiting.is_empty() {
                // Most entities never wait again.
                slot.waiting = VecDeque::new();
            }
            self.perform(desk, id, work);
        }
    }

    fn perform(&mut self, desk: &mut Desk<'_>, id: &EntityId, work: Work) {
        match work {
            Work::Command(order) => self.execute(desk, id, *order),
            Work::Query(origin, query) => self.answer_query(desk, id, origin, *query),
            Work::Attach { since, who } => self.attach(desk, id, since, who),
            Work::Detach { worker, grant } => self.detach(id, worker, grant),
            Work::Here { user, presence, same } => self.here(desk, id, user, presence, same),
            Work::Signal { origin, by, what, same } => self.signal(desk, id, origin, by, what, same),
            Work::Present { session, user, label, presence, display, silent, same } => {
                let now = presence.map(|p| Subscribed { label, presence: (!silent).then_some(*p), display });
                self.present(desk, id, session, user, now, same);
            }
            Work::Displayed { session, display, same } => self.displayed(desk, id, session, display, same),
            Work::Sighted { of, now, hidden_from, same } => {
                self.sighted(desk, id, of, now, hidden_from, same)
            }
            Work::Watch { session, by, on } => self.watch(desk, id, session, by, on),
            Work::Probe { by } => self.probe(desk, id, &by),
            Work::SignalTo(origin, signal) => self.signal_to(desk, id, origin, signal),
            Work::Derive(event) => self.derive(desk, id, &event),
            Work::CatchUp => self.catch_up(desk, id),
        }
    }

    /// A read is done. Gives back what is not for shards.
    pub fn fetched(&mut self, desk: &mut Desk<'_>, id: FetchId, page: Page) {
        let Some(why) = self.fetches.remove(&id) else { return };
        match why {
            Fetching::Heads => self.heads(desk, page),
            Fetching::Entity(id) => self.entity_read(desk, id, page),
            Fetching::Older(id, pos) => {
                if let Some(slot) = self.slots.get_mut(&id) {
                    slot.reading = false;
                    if let Some(Entity::Room(room)) = &mut slot.entity {
                        let found =
                            if let Page::Events(s) = page { s.entries.into_iter().next() } else { None };
                        room.remember(pos, found);
                    }
                }
                self.resume(desk, &id);
            }
            Fetching::Edits(room, of) => self.edits_read(desk, room, of, page),
            Fetching::Fed(id, room, pos) => {
                if let Some(slot) = self.slots.get_mut(&id) {
                    slot.reading = false;
                    // Where it is not, there is no such item.
                    if let (Some(Entity::Account(account)), Page::Feed(_)) = (&mut slot.entity, page) {
                        Arc::make_mut(account).remember(room, pos);
                    }
                }
                self.resume(desk, &id);
            }
            Fetching::Replay { room, who } => self.replay_read(desk, room, &who, page),
            Fetching::CatchUp(id) => self.catch_up_read(desk, &id, page),
            Fetching::Answer(origin) => self.answer_page(desk, origin, page),
            Fetching::Directory(origin, found, limit) => {
                self.directory_read(desk, origin, found, limit, page)
            }
            Fetching::Counts(origin, counts) => self.counts_read(desk, origin, counts, page),
            Fetching::Sweep { user, gone, from } => self.sweep(desk, &user, gone, from, page),
        }
    }

    fn entity_read(&mut self, desk: &mut Desk<'_>, id: EntityId, page: Page) {
        let loaded = Entity::load(&id, page, desk.settings);
        let Some(slot) = self.slots.get_mut(&id) else { return };
        slot.reading = false;
        match loaded {
            Ok(mut entity) => {
                slot.live.view = None;
                if let Entity::Room(room) = &mut entity {
                    room.put_back(slot.live.take_guests());
                    // Whoever came with an entry that is not stored is not there.
                    slot.live.here.retain(|id, _| room.is_joined(*id));
                }
                slot.entity = Some(entity);
                self.resume(desk, &id);
            }
            Err(why) => {
                let waiting = core::mem::take(&mut slot.waiting);
                if slot.live.is_empty() {
                    self.slots.remove(&id);
                }
                for work in waiting {
                    self.refuse_work(desk, &id, work, why.clone());
                }
            }
        }
    }

    fn refuse_work(&mut self, desk: &mut Desk<'_>, id: &EntityId, work: Work, why: Refusal) {
        match (id, work) {
            (EntityId::Room(room), Work::Attach { who, .. }) => refuse_attach(desk, *room, &who, why),
            (_, work) => {
                if let Some(origin) = origin_of(&work) {
                    self.refuse(desk, origin, why);
                }
            }
        }
    }

    fn refuse(&mut self, desk: &mut Desk<'_>, origin: Origin, why: Refusal) {
        self.reply(desk, origin, Err(why));
    }

    fn reply(&mut self, desk: &mut Desk<'_>, origin: Origin, reply: Reply) {
        desk.ledger.emit(origin.session.worker, Mail::Answer(origin, reply));
    }

    /// Puts idle entities out when there are too many: a few steps of the clock's hand each time.
    fn evict(&mut self, desk: &Desk<'_>) {
        let mut steps = 8;
        while self.slots.len() >= desk.settings.limits.entities && steps > 0 {
            steps -= 1;
            let Some(id) = self.clock.pop_front() else { return };
            let idle = self.slots.get(&id).is_none_or(|slot| slot.is_idle(desk));
            if idle {
                self.slots.remove(&id);
            } else {
                self.clock.push_back(id);
            }
        }
    }
}

fn is_for_shard(mail: &Mail) -> bool {
    !matches!(
        mail,
        Mail::Attached { .. }
            | Mail::Event { .. }
            | Mail::Live(..)
            | Mail::Fed { .. }
            | Mail::Notice(..)
            | Mail::NoticeTo(..)
            | Mail::Announce(..)
            | Mail::Answer(..)
            | Mail::Whois { .. }
            | Mail::SignalHere(..)
            | Mail::Hand { .. }
            | Mail::Responded(..)
            | Mail::FollowDone(..)
    )
}

fn refuse_attach(desk: &mut Desk<'_>, room: RoomId, who: &Attacher, why: Refusal) {
    let (session, replay) = (who.session, Err(why));
    desk.ledger.emit(session.worker, Mail::Attached { room, session, grant: 0, replay, answers: None });
}

/// What may be refused when too much waits; follow-ups and leavings never are.
fn refusable(work: &Work) -> bool {
    match work {
        Work::Command(order) => order.from.is_none(),
        Work::Query(..)
        | Work::Attach { .. }
        | Work::Signal { .. }
        | Work::SignalTo(..)
        | Work::Probe { .. } => true,
        _ => false,
    }
}

fn origin_of(work: &Work) -> Option<Origin> {
    match work {
        Work::Command(order) => order.origin,
        Work::Query(origin, _) | Work::SignalTo(origin, _) => Some(*origin),
        Work::Signal { origin, .. } => *origin,
        _ => None,
    }
}

/// All entries after a position.
fn after(pos: Pos, limit: u32) -> Range {
    let mut range = Range::latest(limit);
    range.after = crate::query::Bound::Pos(pos);
    range.only = crate::query::Only::All;
    range
}

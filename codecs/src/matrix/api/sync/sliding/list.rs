//! Which rooms are wanted: those in the ranges of lists, those subscribed to, and those that were left.

use super::ask::{Ask, Config, Filters};
use super::{Told, counted};
use crate::json::{Json, Map};
use crate::matrix::api::data::{TAGS, key};
use crate::matrix::api::login::account;
use crate::matrix::api::scene::view_of;
use crate::matrix::api::sync::room::is_ignored;
use crate::matrix::device::sync::Sync;
use crate::matrix::error::Error;
use crate::matrix::ids::IdKey;
use crate::matrix::rooms;
use crate::matrix::task::Ctx;
use lavina_core::chat::account::Account;
use lavina_core::ids::RoomId;
use lavina_core::policy::Membership;
use lavina_core::text::Str;
use lavina_core::time::UnixMillis;
use std::collections::{BTreeMap, BTreeSet};

/// A room as lists see it.
#[derive(Clone, Debug)]
pub struct Entry {
    pub id: RoomId,
    /// Its id as clients know it.
    pub name: String,
    pub membership: Membership,
    /// It was not looked at yet what it is called.
    unnamed: bool,
    at: UnixMillis,
    dialog: bool,
}

/// What is wanted of a room.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Its id as clients know it.
    pub name: String,
    pub config: Config,
    pub lists: Vec<Str>,
    pub is_dm: bool,
}

/// The device's rooms, those where something happened last first.
pub fn entries(sync: &Sync, ids: &IdKey) -> Vec<Entry> {
    let mut all = Vec::with_capacity(sync.rooms.len());
    all.extend(sync.rooms.iter().map(|(id, r)| Entry {
        id: *id,
        name: ids.room_name(*id, r.name.as_deref()),
        membership: r.membership,
        unnamed: r.name.is_none(),
        at: r.at,
        dialog: r.with.is_some(),
    }));
    all.sort_by_key(|e| (std::cmp::Reverse(e.at), e.id));
    all
}

/// Looks up the ids of rooms that the device has not looked at: those that the user is only asked into. Those that somebody
/// asks him into whom he ignores are left out.
///
/// # Errors
/// The server cannot tell.
pub async fn name_all(ctx: &Ctx, entries: &mut Vec<Entry>) -> Result<(), Error> {
    let mut ignored = BTreeSet::new();
    for entry in entries.iter().filter(|e| e.membership == Membership::Invited) {
        if is_ignored(ctx, entry.id).await? {
            ignored.insert(entry.id);
        }
    }
    entries.retain(|e| !ignored.contains(&e.id));
    for entry in entries.iter_mut().filter(|e| e.unnamed) {
        entry.name = rooms::room_id(ctx, entry.id).await?;
    }
    Ok(())
}

fn is_out(membership: Membership) -> bool {
    matches!(membership, Membership::Left | Membership::Banned)
}

/// The lists with their counts, and the rooms that are wanted, in order.
///
/// # Errors
/// The server cannot tell.
pub async fn wanted(
    ctx: &Ctx,
    ask: &Ask,
    told: &Told,
    entries: &[Entry],
) -> Result<(Json, Vec<(RoomId, Wanted)>), Error> {
    let account = account(ctx).await?;
    let direct = direct_rooms(&account);
    let is_dm = |e: &Entry| e.dialog || direct.contains(e.name.as_str());
    let mut counts = Map::new();
    let mut found: BTreeMap<RoomId, Wanted> = BTreeMap::new();
    for (name, list) in &ask.lists {
        let spaces = of_spaces(ctx, &list.filters).await;
        let mut count = 0;
        for entry in entries.iter().filter(|e| !is_out(e.membership)) {
            if !fits(ctx, entry, is_dm(entry), &list.filters, &account, spaces.as_ref()).await {
                continue;
            }
            if list.has(count) {
                let wanted = found.entry(entry.id).or_default();
                wanted.config.join(&list.config);
                wanted.lists.push(name.clone());
            }
            count += 1;
        }
        counts.insert(name.clone(), counted(count));
    }
    for (name, config) in &ask.rooms {
        if let Some(entry) = entries.iter().find(|e| *e.name == **name && !is_out(e.membership)) {
            found.entry(entry.id).or_default().config.join(config);
        }
    }
    // Who was told of a room is told that it was left.
    for entry in entries.iter().filter(|e| is_out(e.membership)) {
        if let Some(sent) = told.rooms.get(&entry.id) {
            found.entry(entry.id).or_default().config.join(&sent.config);
        }
    }
    let in_order = entries.iter().filter_map(|e| {
        let wanted = found.remove(&e.id)?;
        Some((e.id, Wanted { is_dm: is_dm(e), name: e.name.clone(), ..wanted }))
    });
    Ok((Json::Object(counts), in_order.collect()))
}

/// The ids of the rooms that the user calls direct.
fn direct_rooms(account: &Account) -> BTreeSet<Str> {
    let stored = account.attrs.get(&key("m.direct", None)).and_then(|v| Json::parse(v).ok());
    let lists = stored.as_ref().and_then(Json::as_object).into_iter().flat_map(Map::iter);
    let rooms = lists.flat_map(|(_, rooms)| rooms.as_array().unwrap_or_default().iter());
    rooms.filter_map(|id| id.as_str().map(Str::new)).collect()
}

/// The ids of the rooms in the spaces that a filter names.
async fn of_spaces(ctx: &Ctx, filters: &Filters) -> Option<BTreeSet<Str>> {
    let spaces = filters.spaces.as_ref()?;
    let mut out = BTreeSet::new();
    for space in spaces {
        let Ok(Some(id)) = rooms::room_ref(ctx, space).await else { continue };
        let Ok(view) = view_of(ctx, id).await else { continue };
        let joined = ctx.user().is_ok_and(|u| rooms::membership(&view, u) == Membership::Joined);
        let children = view.facts.iter().filter(|((kind, _), row)| {
            let content = Json::parse(&row.fact.content).unwrap_or_default();
            joined && kind == "m.space.child" && content.get("via").is_some()
        });
        out.extend(children.map(|((_, child), _)| child.clone()));
    }
    Some(out)
}

async fn fits(
    ctx: &Ctx,
    entry: &Entry,
    is_dm: bool,
    filters: &Filters,
    account: &Account,
    spaces: Option<&BTreeSet<Str>>,
) -> bool {
    let invited = entry.membership == Membership::Invited;
    if filters.is_dm.is_some_and(|wanted| wanted != is_dm)
        || filters.is_invite.is_some_and(|wanted| wanted != invited)
        || spaces.is_some_and(|spaces| !spaces.contains(entry.name.as_str()))
    {
        return false;
    }
    if filters.tags.is_some() || !filters.not_tags.is_empty() {
        let stored = account.attrs.get(&key(TAGS, Some(&entry.name))).and_then(|v| Json::parse(v).ok());
        let has = |tag: &Str| stored.as_ref().is_some_and(|s| s.at(&["tags", tag]).is_some());
        if filters.tags.as_ref().is_some_and(|tags| !tags.iter().any(has)) || filters.not_tags.iter().any(has)
        {
            return false;
        }
    }
    let by_state = filters.is_encrypted.is_some() || filters.room_types.is_some();
    if !by_state && filters.not_room_types.is_empty() {
        return true;
    }
    let Ok(view) = view_of(ctx, entry.id).await else { return false };
    let sealed = view.facts.contains_key(&(Str::new("m.room.encryption"), Str::default()));
    let kind = rooms::content(&view.facts, "m.room.create", "");
    let kind = kind.and_then(|c| c.str_of("type").map(Str::new));
    filters.is_encrypted.is_none_or(|wanted| wanted == sealed)
        && filters.room_types.as_ref().is_none_or(|types| types.contains(&kind))
        && !filters.not_room_types.contains(&kind)
}

//! Events as servers send them to each other, for a client that asks for them so (client-server API, "Filtering",
//! `event_format`).

use super::Wish;
use crate::json::Json;
use crate::matrix::api::scene::{Shown, view_of};
use crate::matrix::chain::{SigningKey, pdu, version};
use crate::matrix::device::stamp::Place;
use crate::matrix::error::Error;
use crate::matrix::event::RoomEvent;
use crate::matrix::rooms;
use crate::matrix::task::Ctx;
use lavina_core::event::Event;
use lavina_core::ids::{Pos, RoomId};
use lavina_core::text::Str;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Entries that are looked up for the state of one room; the events of more are told as to other clients.
const LOOKED_UP: usize = 500;

/// The servers' form of what is told of a room: none where it is not asked for, nor of events that are no link of the
/// room's chain (those of before Matrix knew the room).
#[derive(Default)]
pub struct Raw {
    forms: BTreeMap<Place, Json>,
    /// Where the room's creation is in its log.
    create: Option<Place>,
}

impl Raw {
    /// Looks up what is needed, where the filter wants the servers' form.
    ///
    /// # Errors
    /// The server cannot tell.
    pub async fn of(
        ctx: &Ctx,
        wish: &Wish,
        room: RoomId,
        timeline: &[Shown],
        state: &[RoomEvent],
    ) -> Result<Raw, Error> {
        if !wish.filter.federation {
            return Ok(Raw::default());
        }
        Box::pin(Raw::look_up(ctx, room, timeline, state)).await
    }

    async fn look_up(ctx: &Ctx, room: RoomId, timeline: &[Shown], state: &[RoomEvent]) -> Result<Raw, Error> {
        let view = view_of(ctx, room).await?;
        let created = view.facts.get(&(Str::new("m.room.create"), Str::default()));
        let mut raw = Raw {
            forms: BTreeMap::new(),
            create: created.map(|row| Place { pos: row.at.pos, sub: row.at.nth }),
        };
        let Some(version) = version(&view.head) else { return Ok(raw) };
        let key = SigningKey::new(&ctx.settings().core.secret);
        let mut entries: BTreeMap<Pos, Arc<Event>> =
            timeline.iter().map(|s| (s.place.pos, s.entry.clone())).collect();
        let mut wanted: Vec<Place> = timeline.iter().map(|s| s.place).collect();
        let mut asked = 0;
        for place in state.iter().map(|event| raw.place(event)) {
            if !entries.contains_key(&place.pos) && asked < LOOKED_UP {
                asked += 1;
                let found = rooms::entry(ctx, room, place.pos).await?;
                entries.extend(found.map(|entry| (place.pos, entry)));
            }
            wanted.push(place);
        }
        for place in wanted {
            let form = entries.get(&place.pos).and_then(|e| pdu(&view.head, e, place.sub, ctx.domain()));
            let Some(mut form) = form else { continue };
            if let Some(key) = &key {
                key.sign(&mut form, version, ctx.domain());
            }
            raw.forms.insert(place, form);
        }
        Ok(raw)
    }

    /// Where a state event is in the room's log.
    pub fn place(&self, event: &RoomEvent) -> Place {
        let own = Place { pos: event.id.pos, sub: event.id.sub };
        self.create.filter(|_| event.id.is_create()).unwrap_or(own)
    }

    /// An event in the form that is asked for, with its id and what is added for the client.
    pub fn show(&self, place: Place, mut json: Json) -> Json {
        let Some(form) = self.forms.get(&place) else { return json };
        let mut form = form.clone();
        for key in ["event_id", "unsigned"] {
            if let Some(value) = json.take(key) {
                form.set(key, value);
            }
        }
        form
    }
}

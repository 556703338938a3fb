use super::*;
use crate::object;
use Version::*;

/// A room under construction: events by id, each authorised by the state it was made in.
struct Room {
    version: Version,
    events: BTreeMap<Str, Json>,
    time: i64,
}

const A: &str = "@a:x";
const B: &str = "@b:x";
const C: &str = "@c:x";

impl Room {
    fn add(
        &mut self,
        id: &str,
        kind: &str,
        sender: &str,
        state_key: &str,
        content: Json,
        state: &mut StateMap,
    ) {
        self.time += 1;
        let wanted = auth_types(kind, Some(state_key), sender, &content, self.version);
        let auth: Vec<Json> =
            wanted.into_iter().filter_map(|(k, s)| state.get(&(Str::new(k), s))).map(Json::from).collect();
        let event = object! {
            "type" => kind, "sender" => sender, "state_key" => state_key, "content" => content,
            "origin_server_ts" => self.time, "auth_events" => auth, "room_id" => "!r:x", "prev_events" => ["$p"],
        };
        self.events.insert(Str::new(id), event);
        state.insert(key(kind, state_key), Str::new(id));
    }

    /// A and B in it, A with 100, B with 50; C too.
    fn new(version: Version) -> (Room, StateMap) {
        let (mut room, mut state) = (Room { version, events: BTreeMap::new(), time: 0 }, StateMap::new());
        room.add("$create", "m.room.create", A, "", object! { "creator" => A }, &mut state);
        room.member("$a", A, A, "join", &mut state);
        room.levels("$levels", A, 50, &mut state);
        room.rule("$public", A, "public", &mut state);
        room.member("$b", B, B, "join", &mut state);
        room.member("$c", C, C, "join", &mut state);
        (room, state)
    }

    fn member(&mut self, id: &str, sender: &str, target: &str, membership: &str, state: &mut StateMap) {
        self.add(id, "m.room.member", sender, target, object! { "membership" => membership }, state);
    }

    fn levels(&mut self, id: &str, sender: &str, b: i64, state: &mut StateMap) {
        let users = match self.version.room_id_is_hash() {
            true => object! { B => b },
            false => object! { A => 100, B => b },
        };
        self.add(id, "m.room.power_levels", sender, "", object! { "users" => users }, state);
    }

    fn rule(&mut self, id: &str, sender: &str, rule: &str, state: &mut StateMap) {
        self.add(id, "m.room.join_rules", sender, "", object! { "join_rule" => rule }, state);
    }

    fn topic(&mut self, id: &str, sender: &str, state: &mut StateMap) {
        self.add(id, "m.room.topic", sender, "", object! { "topic" => id }, state);
    }

    fn resolve(&self, states: &[StateMap], budget: usize) -> Result<StateMap, Unresolved> {
        let graph = Graph {
            event: &|id| self.events.get(id),
            rejected: &|_| false,
            create_id: "$create",
            signed_by: &|_, _| true,
            third_party: &|_, _| true,
        };
        resolve(self.version, states, &graph, budget)
    }

    #[track_caller]
    fn check(&self, states: &[&StateMap], expected: &[(&str, &str, &str)]) {
        let mut states: Vec<StateMap> = states.iter().map(|s| (*s).clone()).collect();
        let found = self.resolve(&states, 10_000).expect("resolved");
        states.reverse();
        assert_eq!(
            self.resolve(&states, 10_000).as_ref(),
            Ok(&found),
            "the order of the states says nothing"
        );
        for (kind, state_key, id) in expected {
            assert_eq!(
                found.get(&key(kind, state_key)).map(Str::as_str),
                Some(*id),
                "{kind} {:?}",
                self.version
            );
        }
    }
}

#[test]
fn what_all_agree_on_stays() {
    for version in Version::ALL {
        let (room, state) = Room::new(version);
        assert_eq!(room.resolve(&[state.clone(), state.clone()], 0), Ok(state));
    }
}

#[test]
fn of_two_topics_the_later_one_holds() {
    for version in Version::ALL {
        let (mut room, state) = Room::new(version);
        let (mut one, mut two) = (state.clone(), state);
        room.topic("$t1", A, &mut one);
        room.topic("$t2", B, &mut two);
        room.check(&[&one, &two], &[("m.room.topic", "", "$t2"), ("m.room.power_levels", "", "$levels")]);
    }
}

#[test]
fn a_ban_undoes_what_the_banned_did_meanwhile() {
    for version in Version::ALL {
        let (mut room, state) = Room::new(version);
        let (mut one, mut two) = (state.clone(), state);
        room.member("$ban", A, B, "ban", &mut one);
        room.topic("$t", B, &mut two);
        room.rule("$closed", B, "invite", &mut two);
        room.check(&[&one, &two], &[("m.room.member", B, "$ban"), ("m.room.join_rules", "", "$public")]);
        let found = room.resolve(&[one, two], 10_000).expect("resolved");
        assert_eq!(found.get(&key("m.room.topic", "")), None);
    }
}

#[test]
fn lost_power_undoes_the_use_of_it() {
    for version in Version::ALL {
        let (mut room, state) = Room::new(version);
        let (mut one, mut two) = (state.clone(), state);
        room.levels("$lowered", A, 0, &mut one);
        room.member("$kick", B, C, "leave", &mut two);
        room.levels("$raised", B, 40, &mut two);
        room.check(&[&one, &two], &[("m.room.power_levels", "", "$lowered"), ("m.room.member", C, "$c")]);
    }
}

#[test]
fn a_join_that_the_rules_came_to_forbid() {
    for version in Version::ALL {
        let (mut room, state) = Room::new(version);
        let (mut one, mut two) = (state.clone(), state);
        room.rule("$closed", A, "invite", &mut one);
        room.member("$d", "@d:x", "@d:x", "join", &mut two);
        room.check(&[&one, &two], &[("m.room.join_rules", "", "$closed")]);
        let found = room.resolve(&[one, two], 10_000).expect("resolved");
        assert_eq!(found.get(&key("m.room.member", "@d:x")), None);
    }
}

#[test]
fn three_states_at_once() {
    for version in Version::ALL {
        let (mut room, state) = Room::new(version);
        let (mut one, mut two, mut three) = (state.clone(), state.clone(), state);
        room.topic("$t1", A, &mut one);
        room.topic("$t2", B, &mut two);
        room.member("$left", C, C, "leave", &mut three);
        room.check(&[&one, &two, &three], &[("m.room.topic", "", "$t2"), ("m.room.member", C, "$left")]);
    }
}

#[test]
fn it_gives_up_in_order() {
    let (mut room, state) = Room::new(V12);
    let (mut one, mut two) = (state.clone(), state);
    room.topic("$t1", A, &mut one);
    room.topic("$t2", B, &mut two);
    assert_eq!(room.resolve(&[one.clone(), two.clone()], 5), Err(Unresolved::Budget));
    room.events.remove("$levels");
    assert_eq!(room.resolve(&[one, two], 10_000), Err(Unresolved::Missing(Str::new("$levels"))));
}

//! One room, one client of each protocol, many messages, edits, withdrawals, reactions and replies in an order that a
//! seed draws; then the history as each protocol reads it is the same list.

use super::run::{DOMAIN, PASSWORD, Place, Stage};
use crate::client::{http, xml};
use crate::sim::dice::Dice;
use lavina_codecs::{json::Json, object, settings::Protocol};
use std::{collections::BTreeMap, time::Duration};

/// Messages of a run.
pub const MESSAGES: usize = 200;

/// Entries of a page of the history.
const PAGE: usize = 50;

/// The seeds that are played on a built program.
const SEEDS: u64 = 2;

const CLIENT: &str = "/_matrix/client/v3";
const ROOM: &str = "mixed";

/// Who speaks.
const IRC: usize = 0;
const XMPP: usize = 1;
const MATRIX: usize = 2;
const NAMES: [&str; 3] = ["bob", "carol", "alice"];

/// A message as it must be in the end.
#[derive(Clone, Debug)]
struct Said {
    by: usize,
    /// Its id on IRC and XMPP.
    id: String,
    /// The event's id.
    event: String,
    /// What was said first, and what it was changed to.
    first: String,
    text: String,
    answers: Option<usize>,
    withdrawn: bool,
}

/// A message as a history has it: its id, who said it, the first line.
type Line = (String, String, String);

/// Plays it.
///
/// # Errors
/// What is not the same everywhere.
pub fn play(place: &mut impl Place, seed: u64) -> Result<(), String> {
    let mut run = Run::begin(place)?;
    let mut dice = Dice::new(seed);
    while run.said.len() < MESSAGES {
        run.something(&mut dice)?;
    }
    run.compare()
}

/// Plays it on this program, each seed on a fresh server; gives back what is not the same.
///
/// # Panics
/// When it cannot be started.
pub fn play_all(path: &std::path::Path) -> Vec<String> {
    let one = |seed| {
        let program = super::program::Program::start(path, &format!("mixed-{seed}"))
            .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut place = super::places::Listening::new(program.at);
        play(&mut place, seed).err().map(|why| format!("seed {seed}: {why}\n{}", program.log()))
    };
    (0..SEEDS).filter_map(one).collect()
}

struct Run<'a, P> {
    stage: Stage<'a, P>,
    web: usize,
    answers: http::Answers,
    token: String,
    room: String,
    next: usize,
    said: Vec<Said>,
    reactions: usize,
}

impl<'a, P: Place> Run<'a, P> {
    fn begin(place: &'a mut P) -> Result<Run<'a, P>, String> {
        let mut stage = Stage::new(place);
        for name in NAMES {
            stage.account(name)?;
        }
        let caps = "batch draft/chathistory draft/event-playback draft/message-redaction echo-message message-tags server-time";
        stage.irc("b", NAMES[IRC], &caps.split(' ').map(str::to_owned).collect::<Vec<_>>())?;
        stage.say("b", &format!("JOIN #{ROOM}"))?;
        stage.xmpp("c", &format!("{}/desk", NAMES[XMPP]))?;
        stage.say(
            "c",
            &format!(
                "<presence to='{ROOM}@rooms.{DOMAIN}/{}'><x xmlns='http://jabber.org/protocol/muc'/></presence>",
                NAMES[XMPP]
            ),
        )?;
        let web = stage.place.connect(Protocol::Http);
        let (token, room) = (String::new(), String::new());
        let answers = http::Answers::default();
        let mut run = Run { stage, web, answers, token, room, next: 0, said: Vec::new(), reactions: 0 };
        let login = object! {
            "type" => "m.login.password",
            "identifier" => object! { "type" => "m.id.user", "user" => NAMES[MATRIX] },
            "password" => PASSWORD,
        };
        run.token = text(&run.call("POST", "login", Some(&login))?, "access_token")?;
        let joined =
            run.call("POST", &format!("join/{}", http::escape(&format!("#{ROOM}:{DOMAIN}"))), None)?;
        run.room = text(&joined, "room_id")?;
        Ok(run)
    }

    /// A request of the Matrix client, and its answer.
    fn call(&mut self, method: &str, path: &str, body: Option<&Json>) -> Result<Json, String> {
        let path = format!("{CLIENT}/{path}");
        self.stage.place.send(self.web, &http::request(method, &path, &self.token, body));
        loop {
            match self.answers.next() {
                Some((200, answer)) => return Ok(answer),
                Some((status, answer)) => return Err(format!("{method} {path}: {status} {answer:?}")),
                None => match self.stage.place.receive(self.web, Duration::from_secs(10)) {
                    Some(bytes) if !bytes.is_empty() => self.answers.feed(&bytes),
                    _ => return Err(format!("{method} {path}: no answer")),
                },
            }
        }
    }

    fn put(&mut self, what: &str, content: &Json) -> Result<String, String> {
        self.next += 1;
        let path = format!("rooms/{}/{what}/t{}", http::escape(&self.room), self.next);
        text(&self.call("PUT", &path, Some(content))?, "event_id")
    }

    fn groupchat(&mut self, id: &str, inside: &str) -> Result<(), String> {
        let stanza =
            format!("<message to='{ROOM}@rooms.{DOMAIN}' type='groupchat' id='{id}'>{inside}</message>");
        self.stage.say("c", &stanza)
    }

    // --- what happens ---

    fn something(&mut self, dice: &mut Dice) -> Result<(), String> {
        let by = dice.below(3);
        let open: Vec<usize> = (0..self.said.len()).filter(|i| !self.said[*i].withdrawn).collect();
        let own: Vec<usize> = open.iter().copied().filter(|i| self.said[*i].by == by).collect();
        let one = |dice: &mut Dice, of: &[usize]| (!of.is_empty()).then(|| of[dice.below(of.len())]);
        match dice.below(10) {
            0 if by != IRC => one(dice, &own).map_or(Ok(()), |i| self.edit(by, i)),
            1 if dice.once_in(2) => {
                let plain: Vec<usize> =
                    own.into_iter().filter(|i| self.said[*i].text == self.said[*i].first).collect();
                one(dice, &plain).map_or(Ok(()), |i| self.withdraw(by, i))
            }
            2 => one(dice, &open).map_or(Ok(()), |i| self.react(by, i)),
            3 | 4 => {
                let answers = one(dice, &open);
                self.say(by, answers)
            }
            _ => self.say(by, None),
        }
    }

    fn say(&mut self, by: usize, answers: Option<usize>) -> Result<(), String> {
        let n = self.said.len();
        let first = format!("message-{n}-of-{}", NAMES[by]);
        let to = answers.map(|i| self.said[i].clone());
        let mut event = String::new();
        match by {
            IRC => {
                let tag = to.map(|t| format!("@+reply={} ", t.id)).unwrap_or_default();
                self.stage.say("b", &format!("{tag}PRIVMSG #{ROOM} :{first}"))?;
            }
            XMPP => {
                let reply = to.map(|t| {
                    let whom = format!("{ROOM}@rooms.{DOMAIN}/{}", NAMES[t.by]);
                    format!("<reply xmlns='urn:xmpp:reply:0' to='{whom}' id='{}'/>", t.id)
                });
                let body = format!("<body>{first}</body>{}", reply.unwrap_or_default());
                self.groupchat(&format!("x{n}"), &body)?;
            }
            _ => {
                let mut content = object! { "msgtype" => "m.text", "body" => &first };
                if let Some(t) = to {
                    let reply = object! { "m.in_reply_to" => object! { "event_id" => &t.event } };
                    content.set("m.relates_to", reply);
                }
                event = self.put("send/m.room.message", &content)?;
            }
        }
        let id = self.heard_on_irc(&first)?;
        if by != MATRIX {
            event = self.event_of(&first)?;
        }
        self.said.push(Said { by, id, event, text: first.clone(), first, answers, withdrawn: false });
        Ok(())
    }

    /// The id with which the IRC client hears a message.
    fn heard_on_irc(&mut self, text: &str) -> Result<String, String> {
        loop {
            let line = self.stage.next("b")?.ok_or_else(|| format!("IRC does not hear {text}"))?;
            if line.contains(" PRIVMSG ") && line.ends_with(text) {
                return Ok(tag(&line, "msgid").to_owned());
            }
        }
    }

    /// The event id of the newest message, which says this.
    fn event_of(&mut self, body: &str) -> Result<String, String> {
        let path = format!("rooms/{}/messages?dir=b&limit=1", http::escape(&self.room));
        let page = self.call("GET", &path, None)?;
        let last = page.get("chunk").and_then(Json::as_array).and_then(|c| c.first().cloned());
        let last = last.filter(|e| body_of(e).ends_with(body));
        text(&last.ok_or_else(|| format!("Matrix does not have {body} last: {page:?}"))?, "event_id")
    }

    fn edit(&mut self, by: usize, i: usize) -> Result<(), String> {
        self.next += 1;
        let new = format!("changed-{}-{i}-of-{}", self.next, NAMES[by]);
        if by == XMPP {
            let replace = format!("<replace xmlns='urn:xmpp:message-correct:0' id='x{i}'/>");
            let id = format!("e{}", self.next);
            self.groupchat(&id, &format!("<body>{new}</body>{replace}"))?;
        } else {
            let mut content = object! { "msgtype" => "m.text", "body" => format!("* {new}") };
            content.set("m.new_content", object! { "msgtype" => "m.text", "body" => &new });
            content.set("m.relates_to", relation("m.replace", &self.said[i].event));
            self.put("send/m.room.message", &content)?;
        }
        self.said[i].text = new;
        Ok(())
    }

    fn withdraw(&mut self, by: usize, i: usize) -> Result<(), String> {
        let Said { id, event, .. } = self.said[i].clone();
        match by {
            IRC => self.stage.say("b", &format!("REDACT #{ROOM} {id} :sorry"))?,
            XMPP => {
                self.next += 1;
                let retract = format!("<retract xmlns='urn:xmpp:message-retract:1' id='{id}'/>");
                self.groupchat(&format!("r{}", self.next), &retract)?;
            }
            _ => _ = self.put(&format!("redact/{}", http::escape(&event)), &Json::object())?,
        }
        self.said[i].withdrawn = true;
        Ok(())
    }

    fn react(&mut self, by: usize, i: usize) -> Result<(), String> {
        self.reactions += 1;
        let Said { id, event, .. } = self.said[i].clone();
        match by {
            IRC => self.stage.say("b", &format!("@+draft/react=ok;+reply={id} TAGMSG #{ROOM}")),
            XMPP => {
                let inside = format!(
                    "<reactions xmlns='urn:xmpp:reactions:0' id='{id}'><reaction>ok</reaction></reactions>"
                );
                let own = format!("k{}", self.reactions);
                self.groupchat(&own, &inside)
            }
            _ => {
                let mut relates = relation("m.annotation", &event);
                // A key of its own each time: the same one twice is refused.
                relates.set("key", format!("ok{}", self.reactions));
                self.put("send/m.reaction", &object! { "m.relates_to" => relates }).map(drop)
            }
        }
    }
}

impl<P: Place> Run<'_, P> {
    // --- what each history has ---

    fn irc_history(&mut self) -> Result<Vec<Line>, String> {
        let mut all: Vec<Line> = Vec::new();
        let mut from = "*".to_owned();
        let mut seen = BTreeMap::new();
        loop {
            let which = if from == "*" { "LATEST" } else { "BEFORE" };
            self.stage.say("b", &format!("CHATHISTORY {which} #{ROOM} {from} {PAGE}"))?;
            let (mut page, mut batch) = (Vec::new(), None);
            while let Some(line) = self.stage.next("b")? {
                let words: Vec<&str> = line.split(' ').collect();
                match (words.get(1), words.get(2)) {
                    (Some(&"BATCH"), Some(b)) if b.starts_with('+') => batch = Some(b[1..].to_owned()),
                    (Some(&"BATCH"), Some(_)) => break,
                    _ if batch.as_deref() == Some(tag(&line, "batch")) => page.push(line),
                    _ => {}
                }
            }
            let ids: Vec<&str> = page.iter().map(|l| tag(l, "msgid")).filter(|id| !id.is_empty()).collect();
            let Some(first) = ids.first().map(|id| format!("msgid={id}")) else { break };
            if seen.insert(first.clone(), ()).is_some() {
                return Err(format!("IRC: {from} leads back to {first}"));
            }
            from = first;
            let said = page.iter().filter_map(|l| {
                let (head, body) = l.split_once(&format!(" PRIVMSG #{ROOM} :"))?;
                let nick = head.split(" :").nth(1)?.split('!').next()?;
                Some((tag(l, "msgid").to_owned(), nick.to_owned(), body.to_owned()))
            });
            all.splice(0..0, said.collect::<Vec<_>>());
        }
        Ok(all)
    }

    fn xmpp_history(&mut self) -> Result<Vec<String>, String> {
        let mut all = Vec::new();
        let mut after = String::new();
        for n in 0.. {
            let place = if n == 0 { String::new() } else { format!("<after>{after}</after>") };
            self.stage.send(
                "c",
                &format!(
                    "<iq type='set' id='mam{n}' to='{ROOM}@rooms.{DOMAIN}'><query xmlns='urn:xmpp:mam:2'>\
                     <set xmlns='http://jabber.org/protocol/rsm'><max>{PAGE}</max>{place}</set></query></iq>"
                ),
            )?;
            let end = loop {
                let unit = self.stage.next("c")?.ok_or("XMPP: no archive")?;
                if xml::name(&unit) == "iq" && xml::attr(&unit, "id") == Some(&format!("mam{n}")) {
                    break unit;
                }
                if unit.contains("urn:xmpp:mam:2") && xml::name(&unit) == "message" {
                    all.push(unit);
                }
            };
            match xml::text(&end, "last") {
                Some(last) if !end.contains("complete='true'") => after = last.to_owned(),
                _ => break,
            }
        }
        Ok(all)
    }

    fn matrix_history(&mut self) -> Result<Vec<Json>, String> {
        let mut all = Vec::new();
        let mut from = String::new();
        loop {
            let room = http::escape(&self.room);
            let page = self.call("GET", &format!("rooms/{room}/messages?dir=f&limit={PAGE}{from}"), None)?;
            all.extend(page.get("chunk").and_then(Json::as_array).unwrap_or_default().iter().cloned());
            match page.str_of("end") {
                Some(end) => from = format!("&from={}", http::escape(end)),
                None => return Ok(all),
            }
        }
    }

    // --- the comparison ---

    fn compare(&mut self) -> Result<(), String> {
        let (irc, xmpp, matrix) = (self.irc_history()?, self.xmpp_history()?, self.matrix_history()?);
        let said = &self.said;
        let kept: Vec<&Said> = said.iter().filter(|s| !s.withdrawn).collect();
        let wanted: Vec<&str> = kept.iter().map(|s| s.id.as_str()).collect();
        let known = |id: &&str| kept.iter().any(|s| s.id == *id);
        same("IRC", irc.iter().map(|l| l.0.as_str()).filter(known).collect(), &wanted)?;
        let ids = xmpp.iter().filter_map(|m| xml::attr(xml::child(m, "result")?, "id"));
        same("XMPP", ids.filter(known).collect(), &wanted)?;
        let events: Vec<&str> = kept.iter().map(|s| s.event.as_str()).collect();
        let known = |id: &&str| kept.iter().any(|s| s.event == *id);
        same("Matrix", matrix.iter().filter_map(|e| e.str_of("event_id")).filter(known).collect(), &events)?;

        let whole_irc: Vec<&str> = irc.iter().map(|l| l.2.as_str()).collect();
        let whole_irc = whole_irc.join("\n");
        let whole_xmpp = xmpp.join("\n");
        let whole_matrix = format!("{matrix:?}");
        for (n, s) in said.iter().enumerate() {
            for (name, whole) in [("IRC", &whole_irc), ("XMPP", &whole_xmpp), ("Matrix", &whole_matrix)] {
                let has = |text: &str| {
                    let after = |i: usize| whole.as_bytes().get(i + text.len()).copied().unwrap_or(b' ');
                    whole.match_indices(text).any(|(i, _)| !after(i).is_ascii_alphanumeric())
                };
                if has(&s.text) == s.withdrawn || (s.withdrawn && has(&s.first)) {
                    let state = if s.withdrawn { "withdrawn" } else { "said" };
                    let near: Vec<&str> = whole.lines().filter(|l| l.contains(&format!("-{n}-"))).collect();
                    return Err(format!("{name}: message {n} was {state}: {s:?}: {near:?}"));
                }
            }
            if !s.withdrawn {
                self.check_authors(n, &irc, &xmpp, &matrix)?;
            }
        }
        Ok(())
    }

    /// Who said a message, and what it answers, is the same everywhere.
    fn check_authors(&self, n: usize, irc: &[Line], xmpp: &[String], matrix: &[Json]) -> Result<(), String> {
        let s = &self.said[n];
        let who = NAMES[s.by];
        let wrong = |name: &str| Err(format!("{name}: not so: {s:?}"));
        let line = irc.iter().find(|l| l.0 == s.id);
        if line.is_none_or(|l| l.1 != who) {
            return wrong("IRC");
        }
        let element =
            xmpp.iter().find(|m| m.contains(&format!("<result xmlns='urn:xmpp:mam:2' id='{}'", s.id)));
        let from = format!("from='{ROOM}@rooms.{DOMAIN}/{who}'");
        let reply = s.answers.map(|i| self.said[i].id.clone());
        let replies = |m: &String| {
            let found = xml::child(m, "reply").and_then(|r| xml::attr(r, "id").map(str::to_owned));
            found == reply
        };
        if !element.is_some_and(|m| m.contains(&from) && replies(m)) {
            return Err(format!("XMPP: not so: {s:?} answers {reply:?}: {element:?}"));
        }
        let event = matrix.iter().find(|e| e.str_of("event_id") == Some(&s.event));
        let sender = format!("@{who}:{DOMAIN}");
        let answered =
            event.and_then(|e| e.at(&["content", "m.relates_to", "m.in_reply_to", "event_id"])?.as_str());
        let right = answered == s.answers.map(|i| self.said[i].event.as_str());
        if event.and_then(|e| e.str_of("sender")) != Some(&sender) || !right {
            return Err(format!("Matrix: not so: {s:?}: {event:?}"));
        }
        Ok(())
    }
}

fn same(name: &str, got: Vec<&str>, wanted: &[&str]) -> Result<(), String> {
    match got == wanted {
        true => Ok(()),
        false => {
            let at = got.iter().zip(wanted).position(|(g, w)| g != w);
            let (g, w) = (got.len(), wanted.len());
            Err(format!("{name}: {g} messages, not {w}; the first that differs: {at:?}"))
        }
    }
}

fn relation(kind: &str, event: &str) -> Json {
    object! { "rel_type" => kind, "event_id" => event }
}

fn text(json: &Json, key: &str) -> Result<String, String> {
    json.str_of(key).map(str::to_owned).ok_or_else(|| format!("no {key} in {json:?}"))
}

fn body_of(event: &Json) -> &str {
    event.at(&["content", "body"]).and_then(Json::as_str).unwrap_or_default()
}

/// The value of a line's tag.
fn tag<'a>(line: &'a str, name: &str) -> &'a str {
    let tags = line.strip_prefix('@').and_then(|l| l.split(' ').next()).unwrap_or_default();
    let value = tags.split(';').find_map(|t| t.strip_prefix(name)?.strip_prefix('='));
    value.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::places::Simulated;

    #[test]
    fn one_history_for_three_protocols() {
        for (seed, workers) in [(1, 1), (2, 2), (3, 4)] {
            if let Err(why) = play(&mut Simulated::new(workers, seed), seed) {
                panic!("seed {seed}, {workers} workers: {why}");
            }
        }
    }
}

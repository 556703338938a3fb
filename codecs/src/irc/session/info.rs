//! About the server: the message of the day, LUSERS, LIST, VERSION, TIME, ADMIN, INFO, HELP, STATS, LINKS.

use lavina_core::name::RoomName;
use lavina_core::query::{Counts, Listed, Query};

use super::super::command::{self, ROWS, Verb};
use super::super::elist::{self, Conditions};
use super::super::limits::TOPIC_MAX;
use super::super::message::Line;
use super::super::numeric as n;
use super::super::render::one_line;
use super::super::{settings, stamp};
use super::answer::Ask;
use super::welcome::version;
use super::{Irc, identity, server};
use crate::session::Cx;

/// Rooms read at once for LIST.
const LIST_PAGE: u32 = 200;

/// A LIST under way.
#[derive(Debug)]
pub(super) struct Listing {
    conditions: Conditions,
}

impl Irc {
    /// Commands that ask about the server.
    pub(super) fn information(&mut self, verb: Verb, line: &Line<'_>, cx: &mut Cx<'_>) {
        match verb {
            Verb::Motd => self.motd(cx),
            Verb::Lusers => {
                let req = cx.query(Query::Counts);
                self.ask(req, Ask::Counts { burst: false });
            }
            Verb::Version => {
                let about = cx.settings().irc.description.to_string();
                self.numeric_text(cx, n::RPL_VERSION, &[&version(), server(cx)], &about);
                self.isupport(cx);
            }
            Verb::Isupport => self.isupport(cx),
            Verb::Time => {
                let now = stamp::words(cx.now().wall.0);
                self.numeric_text(cx, n::RPL_TIME, &[server(cx)], &now);
            }
            Verb::Admin => self.admin(cx),
            Verb::Info => {
                let text = format!("{}: one chat server for clients of several protocols", version());
                self.numeric_text(cx, n::RPL_INFO, &[], &text);
                self.numeric(cx, n::RPL_ENDOFINFO, &[]);
            }
            Verb::Links => self.numeric(cx, n::RPL_ENDOFLINKS, &["*"]),
            Verb::Stats => {
                let letter = line.param(0).get(..1).unwrap_or("*").to_owned();
                self.numeric(cx, n::RPL_ENDOFSTATS, &[&letter]);
            }
            Verb::Help | Verb::Helpop => self.help(line.param(0), cx),
            _ => self.numeric(cx, n::ERR_UNKNOWNCOMMAND, &[line.command]),
        }
    }

    pub(super) fn motd(&mut self, cx: &mut Cx<'_>) {
        let (lines, server) = (cx.settings().irc.motd.clone(), server(cx));
        if lines.is_empty() {
            return self.numeric(cx, n::ERR_NOMOTD, &[]);
        }
        self.numeric_text(cx, n::RPL_MOTDSTART, &[], &format!("- {server} Message of the day -"));
        for line in &lines {
            self.numeric_text(cx, n::RPL_MOTD, &[], &format!("- {line}"));
        }
        self.numeric(cx, n::RPL_ENDOFMOTD, &[]);
    }

    fn admin(&mut self, cx: &mut Cx<'_>) {
        let network = settings::network(cx.settings()).to_owned();
        self.numeric(cx, n::RPL_ADMINME, &[server(cx)]);
        self.numeric_text(cx, n::RPL_ADMINLOC1, &[], &network);
        let domain = cx.core_settings().domain.to_string();
        self.numeric_text(cx, n::RPL_ADMINEMAIL, &[], &format!("postmaster@{domain}"));
    }

    fn help(&mut self, subject: &str, cx: &mut Cx<'_>) {
        let asked = if subject.is_empty() { "*" } else { subject };
        if subject.is_empty() {
            self.numeric_text(cx, n::RPL_HELPSTART, &[asked], "Commands; HELP <command> says more");
            let names = ROWS.iter().map(|row| row.name.to_owned());
            for words in super::super::cap::pack(names, 300) {
                self.numeric_text(cx, n::RPL_HELPTXT, &[asked], &words);
            }
        } else if let Some(row) = command::row(subject) {
            self.numeric_text(cx, n::RPL_HELPSTART, &[asked], row.name);
            self.numeric_text(cx, n::RPL_HELPTXT, &[asked], row.help);
        } else {
            return self.numeric(cx, n::ERR_HELPNOTFOUND, &[asked]);
        }
        self.numeric(cx, n::RPL_ENDOFHELP, &[asked]);
    }

    /// 251 to 266; as part of the welcome the message of the day follows.
    pub(super) fn counts(&mut self, counts: Option<Counts>, burst: bool, cx: &mut Cx<'_>) {
        if let Some(c) = counts {
            let (users, most) = (c.sessions.to_string(), c.max_sessions.max(c.sessions).to_string());
            let (visible, hidden) = (c.sessions.saturating_sub(c.hidden), c.hidden);
            let text = format!("There are {visible} users and {hidden} invisible on 1 servers");
            self.numeric_text(cx, n::RPL_LUSERCLIENT, &[], &text);
            self.numeric(cx, n::RPL_LUSEROP, &[&c.admins.to_string()]);
            self.numeric(cx, n::RPL_LUSERUNKNOWN, &[&c.unknown.to_string()]);
            self.numeric(cx, n::RPL_LUSERCHANNELS, &[&c.rooms.to_string()]);
            self.numeric_text(cx, n::RPL_LUSERME, &[], &format!("I have {users} clients and 1 servers"));
            let text = format!("Current local users {users}, max {most}");
            self.numeric_text(cx, n::RPL_LOCALUSERS, &[&users, &most], &text);
            let text = format!("Current global users {users}, max {most}");
            self.numeric_text(cx, n::RPL_GLOBALUSERS, &[&users, &most], &text);
        }
        if burst && !self.meta_burst(cx) {
            self.motd(cx);
            self.after_motd(cx);
        }
    }

    pub(super) fn list(&mut self, line: &Line<'_>, cx: &mut Cx<'_>) {
        self.numeric(cx, n::RPL_LISTSTART, &["Channel"]);
        let conditions = Conditions::parse(line.param(0));
        self.list_from(None, Listing { conditions }, cx);
    }

    fn list_from(&mut self, after: Option<RoomName>, listing: Listing, cx: &mut Cx<'_>) {
        let req = cx.query(Query::Directory { after, limit: LIST_PAGE, secret: true });
        self.ask(req, Ask::List(Box::new(listing)));
    }

    /// A page of the list; secret rooms are told to who is in them.
    pub(super) fn listed(&mut self, rooms: &[Listed], listing: Listing, cx: &mut Cx<'_>) {
        let now = cx.now().wall.0;
        for room in rooms {
            let Some(channel) = room.head.name.as_ref().map(identity::channel) else { continue };
            let seen = !room.head.policy.secret || self.rooms.contains_key(&room.room);
            let facts = elist::Listed {
                channel: &channel,
                members: room.members,
                made: room.head.created.0,
                topic: room.topic.as_ref().map(|t| t.at.0),
            };
            if seen && listing.conditions.fit(&facts, now) {
                let topic = room.topic.as_ref().map(|t| one_line(&t.text, TOPIC_MAX)).unwrap_or_default();
                self.numeric_text(cx, n::RPL_LIST, &[&channel, &room.members.to_string()], &topic);
            }
        }
        match rooms.last().filter(|_| rooms.len() >= LIST_PAGE as usize).and_then(|r| r.head.name.clone()) {
            Some(last) => self.list_from(Some(last), listing, cx),
            None => self.numeric(cx, n::RPL_LISTEND, &[]),
        }
    }
}

//! IRC sessions through a whole worker with the memory store. What crosses to XMPP is in `fuzz/scenarios`.
#![allow(clippy::unwrap_used, missing_docs)]

mod server;

use lavina_codecs::settings::Protocol;
use server::Server;

/// Registers an IRC connection of an account, with capabilities.
/// All that a new connection of a plain client shows.
fn irc_all(s: &mut Server, nick: &str) -> String {
    let c = s.open_on(Protocol::Irc);
    let mut got = s.send(c, &format!("PASS {nick}:secret\r\nNICK {nick}\r\nUSER x 0 * :Real\r\n"));
    got += &s.send(c, "PING x\r\n");
    got
}

#[test]
fn two_people_talk_in_a_channel_and_in_private() {
    let mut s = Server::new();
    s.register("alice");
    s.register("bob");
    let a = s.irc("alice", "echo-message labeled-response batch message-tags server-time");
    let b = s.irc("bob", "multi-prefix");
    let got = s.send(a, "JOIN #Lobby\r\n");
    assert!(got.contains("JOIN #lobby") && got.contains(" 353 alice = #lobby :~alice"), "{got}");
    assert!(got.contains(" 366 "), "{got}");
    let got = s.send(b, "JOIN #lobby\r\n");
    assert!(got.contains(":~alice bob") || got.contains(":bob ~alice"), "{got}");
    assert!(s.read(a).contains(":bob!bob@localhost JOIN #lobby"));
    let got = s.send(a, "@label=7 PRIVMSG #lobby :hi\r\n");
    assert!(
        got.starts_with("@label=7;time=") && got.contains("msgid=") && got.ends_with("#lobby :hi\r\n"),
        "{got}"
    );
    assert_eq!(s.read(b), ":alice!alice@localhost PRIVMSG #lobby :hi\r\n");
    let got = s.send(b, "PRIVMSG alice :psst\r\n");
    assert_eq!(got, "");
    assert!(s.read(a).ends_with("PRIVMSG alice :psst\r\n"));
    assert!(s.send(b, "PRIVMSG nobody :x\r\n").contains(" 401 bob nobody "));
    assert!(s.send(b, "MODE #lobby +o bob\r\n").contains(" 482 "));
    s.send(a, "MODE #lobby +ov bob bob\r\n");
    assert_eq!(s.read(b), ":alice!alice@localhost MODE #lobby +o bob\r\n");
    assert!(s.send(b, "NAMES #lobby\r\n").contains("@+bob"));
    let got = s.send(a, "KICK #lobby bob :out\r\n");
    assert!(got.contains("KICK #lobby bob :out"), "{got}");
    assert!(s.read(b).ends_with("KICK #lobby bob :out\r\n"));
    assert!(s.send(b, "PRIVMSG #lobby :x\r\n").contains(" 404 "));
}

#[test]
fn sasl_logs_in_before_registration_ends() {
    let mut s = Server::new();
    s.register("alice");
    let c = s.open_on(Protocol::Irc);
    s.send(c, "CAP REQ :sasl\r\nNICK alice\r\nUSER x 0 * :Real\r\n");
    assert_eq!(s.send(c, "AUTHENTICATE PLAIN\r\n"), "AUTHENTICATE +\r\n");
    let wrong = data_encoding::BASE64.encode(b"\0alice\0wrong");
    assert!(s.send(c, &format!("AUTHENTICATE {wrong}\r\n")).contains(" 904 "));
    s.send(c, "AUTHENTICATE PLAIN\r\n");
    let plain = data_encoding::BASE64.encode(b"\0alice\0secret");
    let got = s.send(c, &format!("AUTHENTICATE {plain}\r\n"));
    assert!(got.contains(" 900 ") && got.contains(" 903 "), "{got}");
    assert!(s.send(c, "CAP END\r\n").contains(" 001 alice "));
}

#[test]
fn history_is_paged() {
    let mut s = Server::new();
    s.register("alice");
    let a = s.irc("alice", "batch message-tags server-time draft/chathistory");
    s.send(a, "JOIN #c\r\n");
    for n in 0..5 {
        s.send(a, &format!("PRIVMSG #c :line {n}\r\n"));
    }
    let got = s.send(a, "CHATHISTORY LATEST #c * 2\r\n");
    let lines: Vec<&str> = got.lines().collect();
    assert!(lines[0].contains("BATCH +") && lines[0].ends_with("chathistory #c"), "{got}");
    assert!(lines[1].ends_with(":line 3") && lines[2].ends_with(":line 4") && lines.len() == 4, "{got}");
    let id = lines[1].split("msgid=").nth(1).and_then(|s| s.split([';', ' ']).next()).unwrap();
    let got = s.send(a, &format!("CHATHISTORY BEFORE #c msgid={id} 2\r\n"));
    assert!(got.contains(":line 1") && got.contains(":line 2") && !got.contains(":line 3"), "{got}");
    let got = s.send(a, &format!("CHATHISTORY AROUND #c msgid={id} 3\r\n"));
    assert!(got.contains(":line 2") && got.contains(":line 3") && got.contains(":line 4"), "{got}");
    assert!(s.send(a, "CHATHISTORY LATEST #nope * 2\r\n").contains("FAIL CHATHISTORY INVALID_TARGET"));
}

#[test]
fn watched_nicks_come_and_go() {
    let mut s = Server::new();
    for name in ["alice", "bob", "eve"] {
        s.register(name);
    }
    let a = s.irc("alice", "extended-monitor away-notify setname labeled-response batch");
    let got = s.send(a, "@label=m MONITOR + bob,eve,*!x@y\r\n");
    assert!(got.contains(" 432 alice *!x@y ") && got.contains(" 731 alice :bob,eve\r\n"), "{got}");
    assert!(got.contains("label=m"), "{got}");
    let b = s.irc("bob", "setname");
    assert_eq!(s.read(a), ":localhost 730 alice :bob!bob@localhost\r\n");
    s.send(b, "AWAY :tea\r\n");
    assert_eq!(s.read(a), ":bob!bob@localhost AWAY :tea\r\n");
    s.send(b, "SETNAME :Robert\r\n");
    assert_eq!(s.read(a), ":bob!bob@localhost SETNAME :Robert\r\n");
    // In a common channel it is told once.
    s.send(a, "JOIN #c\r\n");
    s.send(b, "JOIN #c\r\n");
    s.read(a);
    s.send(b, "AWAY\r\n");
    assert_eq!(s.read(a), ":bob!bob@localhost AWAY\r\n");
    assert!(s.send(a, "MONITOR S\r\n").contains(" 730 alice :bob!bob@localhost\r\n"));
    assert!(s.send(a, "MONITOR L\r\n").contains(" 732 alice :bob,eve\r\n"));
    // A second session changes nothing; the end of the last one does.
    let b2 = s.irc("bob", "setname");
    s.send(b, "QUIT\r\n");
    assert!(!s.read(a).contains(" 731 "));
    s.send(b2, "QUIT\r\n");
    assert!(s.read(a).ends_with(" 731 alice :bob\r\n"));
    // XMPP sessions are nobody's business.
    let x = s.login("eve", "x");
    s.send(x, "<presence/>");
    assert_eq!(s.read(a), "");
    assert_eq!(s.send(a, "MONITOR C\r\n"), "");
    s.irc("bob", "setname");
    assert!(!s.read(a).contains(" 730 "));
    let got = s.send(a, "WHOWAS bob 1\r\n");
    assert!(got.contains(" 314 alice bob bob localhost * :Robert") && got.contains(" 369 "), "{got}");
    assert!(s.send(a, "WHOWAS eve\r\n").contains(" 406 alice eve "));
}

#[test]
fn who_is_blocked_watches_in_vain() {
    let mut s = Server::new();
    s.register("alice");
    s.register("bob");
    let x = s.login("bob", "x");
    s.send(x, "<presence/>");
    s.send(
        x,
        "<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='alice@localhost'/></block></iq>",
    );
    let a = s.irc("alice", "batch");
    s.irc("bob", "batch");
    assert!(s.send(a, "MONITOR + bob\r\n").contains(" 731 alice :bob\r\n"));
    s.send(
        x,
        "<iq type='set' id='c'><unblock xmlns='urn:xmpp:blocking'><item jid='alice@localhost'/></unblock></iq>",
    );
    assert!(s.read(a).contains(" 730 alice :bob!bob@localhost\r\n"));
}

#[test]
fn operators_end_sessions_and_speak_to_all() {
    let mut s = Server::with(|config| {
        config.irc.oper =
            vec![lavina_codecs::config::Oper { name: "root".into(), password: "secret".into() }];
    });
    for name in ["alice", "bob"] {
        s.register(name);
    }
    let a = s.irc("alice", "batch");
    let b = s.irc("bob", "batch");
    assert!(s.send(b, "KILL alice :no\r\n").contains(" 481 "));
    assert!(s.send(b, "WALLOPS :no\r\n").contains(" 481 "));
    assert!(s.send(b, "REHASH\r\n").contains(" 481 "));
    assert!(s.send(a, "OPER root wrong\r\n").contains(" 464 "));
    assert!(s.send(a, "OPER root secret\r\n").contains(" 381 "));
    assert!(s.send(b, "LUSERS\r\n").contains(" 252 bob 1 "));
    assert!(s.send(b, "WHOIS alice\r\n").contains(" 313 bob alice "));
    s.send(b, "MODE bob +w\r\n");
    s.send(a, "WALLOPS :hello all\r\n");
    assert_eq!(s.read(b), ":alice!alice@localhost WALLOPS :hello all\r\n");
    let x = s.login("bob", "x");
    s.send(x, "<presence/>");
    s.read(x);
    s.send(a, "KILL bob :enough\r\n");
    assert!(s.read(b).contains("ERROR :Closing link: Killed (alice (enough))"));
    assert!(s.closed.contains_key(&b) && s.closed.contains_key(&x));
    assert!(s.read(x).contains("<policy-violation"));
    assert!(s.send(a, "KILL nobody :x\r\n").contains(" 401 "));
}

#[test]
fn bots_are_marked() {
    let mut s = Server::new();
    s.register("alice");
    s.register("bot");
    let a = s.irc("alice", "message-tags");
    let b = s.irc("bot", "message-tags");
    s.send(b, "MODE bot +B\r\nJOIN #c\r\n");
    s.send(a, "JOIN #c\r\n");
    s.read(b);
    s.send(b, "@+x=1 PRIVMSG #c :beep\r\n");
    let got = s.read(a);
    assert!(got.contains(";bot;+x=1 :bot!bot@localhost PRIVMSG #c :beep"), "{got}");
    assert!(s.send(a, "WHOIS bot\r\n").contains(" 335 alice bot "));
    assert!(s.send(a, "WHO #c\r\n").contains(" H~B :"), "a flag in WHO");
}

#[test]
fn a_message_of_several_lines_is_one_message() {
    let mut s = Server::new();
    for name in ["alice", "bob", "eve"] {
        s.register(name);
    }
    let caps = "message-tags batch echo-message labeled-response draft/multiline";
    let a = s.irc("alice", caps);
    let b = s.irc("bob", "message-tags batch draft/multiline");
    let c = s.irc("eve", "message-tags");
    for conn in [a, b, c] {
        s.send(conn, "JOIN #c\r\n");
    }
    let x = s.login("eve", "x");
    s.send(x, "<presence/>");
    s.join(x, "c", "eve");
    for conn in [a, b, c, x] {
        s.read(conn);
    }
    let got = s.send(
        a,
        "@label=7 BATCH +1 draft/multiline #c\r\n@batch=1 PRIVMSG #c :one\r\n@batch=1 PRIVMSG #c :two \r\n\
         @batch=1;draft/multiline-concat PRIVMSG #c :and\r\nBATCH -1\r\n",
    );
    assert!(got.starts_with("@label=7;msgid=") && got.matches("label=").count() == 1, "{got}");
    let got = s.read(b);
    let lines: Vec<&str> = got.lines().collect();
    assert!(
        lines.len() == 5 && lines[0].contains("BATCH +") && lines[0].ends_with("draft/multiline #c"),
        "{got}"
    );
    assert!(lines[1].ends_with(" PRIVMSG #c :one") && !lines[1].contains("msgid"), "{got}");
    assert!(lines[3].contains(";draft/multiline-concat :alice") && lines[3].ends_with(":and"), "{got}");
    let got = s.read(c);
    assert!(got.contains("@msgid=") && got.matches("msgid=").count() == 1, "{got}");
    assert!(got.contains(":one\r\n") && got.contains(":two \r\n") && got.contains(":and\r\n"), "{got}");
    let got = s.read(x);
    assert!(got.contains("<body>one\ntwo and</body>"), "{got}");
    // What comes from elsewhere with several lines is a batch too.
    s.send(x, "<message to='c@rooms.localhost' type='groupchat' id='m'><body>three\nfour</body></message>");
    let got = s.read(b);
    assert!(got.contains("BATCH +") && got.contains(":three\r\n") && got.contains(":four\r\n"), "{got}");
    s.read(a);
    s.read(c);
    // What is wrong is told once, and the rest is passed over.
    let got = s.send(
        a,
        "BATCH +2 draft/multiline #c\r\n@batch=3 PRIVMSG #c :x\r\n@batch=2 PRIVMSG #c :y\r\nBATCH -2\r\n",
    );
    assert!(got.contains("FAIL BATCH MULTILINE_INVALID") && got.lines().count() == 1, "{got}");
    assert_eq!(s.read(c), "");
}

#[test]
fn how_far_one_has_read_is_the_accounts() {
    let mut s = Server::new();
    s.register("alice");
    s.register("bob");
    let a = s.irc("alice", "draft/read-marker server-time message-tags");
    let got = s.send(a, "JOIN #c\r\n");
    let mark = got.find("MARKREAD #c *").unwrap();
    assert!(mark < got.find(" 366 ").unwrap());
    let a2 = s.irc("alice", "draft/read-marker server-time");
    s.read(a2);
    let b = s.irc("bob", "batch");
    s.send(b, "JOIN #c\r\nPRIVMSG #c :hi\r\n");
    let got = s.read(a);
    let time = got.split("@time=").nth(2).and_then(|t| t.split([';', ' ']).next()).unwrap().to_owned();
    let got = s.send(a, &format!("MARKREAD #c timestamp={time}\r\n"));
    assert_eq!(got, format!(":localhost MARKREAD #c timestamp={time}\r\n"));
    assert!(s.read(a2).ends_with(&format!(":localhost MARKREAD #c timestamp={time}\r\n")));
    // It never falls.
    let got = s.send(a, "MARKREAD #c timestamp=2020-01-01T00:00:00.000Z\r\n");
    assert_eq!(got, format!(":localhost MARKREAD #c timestamp={time}\r\n"));
    assert!(s.send(a, "MARKREAD bob\r\n").ends_with("MARKREAD bob *\r\n"));
    assert!(s.send(a, "MARKREAD #nope\r\n").ends_with("MARKREAD #nope *\r\n"));
    assert!(s.send(a, "MARKREAD\r\n").contains("FAIL MARKREAD NEED_MORE_PARAMS"));
    assert!(s.send(a, "MARKREAD #c *\r\n").contains("FAIL MARKREAD INVALID_PARAMS"));
    s.send(b, "PRIVMSG alice :psst\r\n");
    s.read(a2);
    let got = s.send(a, "MARKREAD bob timestamp=2100-01-01T00:00:00.000Z\r\n");
    assert!(got.ends_with("MARKREAD bob timestamp=2100-01-01T00:00:00.000Z\r\n"), "{got}");
    assert!(s.read(a2).contains("MARKREAD bob timestamp=2100"));
}

#[test]
fn ranks_accounts_and_masks_rule_a_channel() {
    let mut s = Server::with(|config| {
        config.guests = lavina_core::settings::Guests::Free;
        config.rooms.who_may_create = lavina_core::settings::WhoMay::Everybody;
    });
    s.register("alice");
    s.register("bob");
    let a = s.irc("alice", "batch");
    let b = s.irc("bob", "batch");
    let g = s.open_on(Protocol::Irc);
    s.send(g, "NICK gast\r\nUSER g 0 * :Guest\r\n");
    s.send(a, "JOIN #c\r\nMODE #c +RM\r\n");
    assert!(s.send(g, "JOIN #c\r\n").contains(" 477 gast #c "));
    s.send(a, "MODE #c -R\r\n");
    s.send(g, "JOIN #c\r\n");
    assert!(s.send(g, "PRIVMSG #c :hi\r\n").contains(" 404 gast #c "));
    s.send(a, "MODE #c +v gast\r\n");
    assert!(!s.send(g, "PRIVMSG #c :hi\r\n").contains(" 404 "));
    // A rank's members hear, the others do not.
    s.send(b, "JOIN #c\r\n");
    for conn in [a, b, g] {
        s.read(conn);
    }
    assert_eq!(s.send(b, "PRIVMSG @#c :to the ops\r\n"), "");
    assert_eq!(s.read(a), ":bob!bob@localhost PRIVMSG @#c :to the ops\r\n");
    assert_eq!(s.read(g), "");
    s.send(b, "NOTICE +#c :to the voices\r\n");
    assert_eq!(s.read(g), ":bob!bob@localhost NOTICE +#c :to the voices\r\n");
    // A mute and an exception from it; a ban by account of one who was never there.
    s.send(a, "MODE #c +b m:*!*@*\r\n");
    assert!(s.send(b, "PRIVMSG #c :x\r\n").contains(" 404 "));
    s.send(a, "MODE #c +e m:a:bob\r\n");
    assert!(!s.send(b, "PRIVMSG #c :x\r\n").contains(" 404 "));
    s.send(a, "JOIN #d\r\nMODE #d +b a:bob\r\n");
    assert!(s.send(b, "JOIN #d\r\n").contains(" 474 bob #d "));
    s.send(a, "MODE #d -b a:bob\r\n");
    assert!(s.send(b, "JOIN #d\r\n").contains("JOIN #d"));
    // Only a guest's room takes words from outside.
    s.send(a, "MODE #d -n\r\n");
    assert!(s.send(g, "PRIVMSG #d :x\r\n").contains(" 404 "));
    s.send(g, "JOIN #g\r\nMODE #g -n\r\n");
    assert_eq!(s.send(b, "PRIVMSG #g :from outside\r\n"), "");
    assert!(s.read(g).ends_with(":bob!bob@localhost PRIVMSG #g :from outside\r\n"));
    s.send(g, "MODE #g +C\r\n");
    assert!(s.send(g, "PRIVMSG #g :\u{1}PING 1\u{1}\r\n").contains(" 404 "));
}

#[test]
fn who_is_deleted_leaves_all_rooms_through_a_crash() {
    let mut s = Server::new();
    s.register("alice");
    s.register("bob");
    let b = s.irc("bob", "batch");
    s.send(b, "JOIN #c\r\nJOIN #d\r\n");
    let x = s.login("bob", "x");
    // Its rooms are not found before the program ends.
    s.mute = true;
    s.send(x, "<iq type='set' id='gone'><query xmlns='jabber:iq:register'><remove/></query></iq>");
    s.crash();
    let a = s.irc("alice", "batch");
    let got = s.send(a, "JOIN #c\r\nJOIN #d\r\n");
    assert!(got.contains(" 366 alice #d ") && !got.contains("bob"), "{got}");
}

#[test]
fn two_modes_at_once_are_both_set() {
    let mut s = Server::new();
    s.register("alice");
    let a = s.irc("alice", "batch");
    s.send(a, "JOIN #c\r\n");
    let got = s.send(a, "MODE #c +s\r\nMODE #c +l 5\r\nMODE #c +k key\r\nMODE #c\r\n");
    assert!(got.contains("MODE #c +s") && got.contains("MODE #c +l 5") && got.contains("+k key"), "{got}");
    assert!(!got.contains(" 400 "), "{got}");
}

#[test]
fn history_asked_for_right_behind_a_message_has_it() {
    let mut s = Server::new();
    s.register("alice");
    let a = s.irc("alice", "batch draft/chathistory message-tags echo-message");
    s.send(a, "JOIN #c\r\n");
    s.stalled = true;
    let got = s.send(a, "PRIVMSG #c :first\r\nCHATHISTORY LATEST #c * 5\r\n");
    assert_eq!(got, "", "nothing is shown before it is stored");
    s.unstall();
    let got = s.read(a);
    assert_eq!(got.matches(" PRIVMSG #c :first\r\n").count(), 2, "echo and history: {got}");
}

#[test]
fn a_session_logs_in_as_somebody_else() {
    let mut s = Server::new();
    s.register("alice");
    s.register("bob");
    let a = s.irc("alice", "sasl");
    s.send(a, "JOIN #c\r\nMONITOR + bob\r\n");
    s.send(a, "AUTHENTICATE PLAIN\r\n");
    let plain = data_encoding::BASE64.encode(b"\0bob\0secret");
    let got = s.send(a, &format!("AUTHENTICATE {plain}\r\n"));
    let part = got.find(":alice!alice@localhost PART #c :").unwrap();
    let nick = got.find(":alice!alice@localhost NICK :bob").unwrap();
    assert!(part < nick && got.contains(" 900 bob ") && got.contains(" 903 "), "{got}");
    assert!(got.contains(" 730 bob :bob!bob@localhost"), "{got}");
    // The same again changes nothing.
    s.send(a, "AUTHENTICATE PLAIN\r\n");
    let got = s.send(a, &format!("AUTHENTICATE {plain}\r\n"));
    assert!(got.contains(" 903 ") && !got.contains("NICK"), "{got}");
    assert!(s.send(a, "NAMES #c\r\n").contains(":~alice\r\n"), "alice stays a member");
}

#[test]
fn what_a_dead_connection_was_sent_is_shown_again() {
    let mut s = Server::new();
    s.register("alice");
    s.register("bob");
    let b = s.irc("bob", "batch");
    s.send(b, "JOIN #c\r\n");
    let a = s.irc("alice", "batch");
    s.send(a, "JOIN #c\r\n");
    s.send(b, "PRIVMSG #c :one\r\nPRIVMSG alice :two\r\n");
    // Nobody read this: the connection was dead when it was written.
    s.cut(a);
    s.send(b, "PRIVMSG #c :three\r\n");
    let a = irc_all(&mut s, "alice");
    for text in ["one", "two", "three"] {
        assert_eq!(a.matches(&format!("] {text}\r\n")).count(), 1, "{text} in {a}");
    }
}

#[test]
fn what_is_said_at_the_moment_of_leaving_is_shown_at_the_next() {
    let mut s = Server::new();
    s.register("alice");
    s.register("bob");
    let b = s.irc("bob", "batch");
    s.send(b, "JOIN #c\r\n");
    let a = s.irc("alice", "batch");
    s.send(a, "JOIN #c\r\n");
    s.send(b, "PRIVMSG #c :before\r\n");
    s.send(a, "QUIT\r\n");
    s.at_once(b, "PRIVMSG #c :after\r\n");
    let a = irc_all(&mut s, "alice");
    assert!(!a.contains("before") && a.contains("] after\r\n"), "{a}");
}

#[test]
fn leaving_with_the_last_connection() {
    let mut s = Server::with(|config| config.rooms.leave_on_quit = true);
    s.register("alice");
    s.register("bob");
    let b = s.irc("bob", "batch");
    s.send(b, "JOIN #c\r\n");
    let a = s.irc("alice", "batch");
    let a2 = s.irc("alice", "batch");
    s.send(a, "JOIN #c\r\n");
    s.read(b);
    s.send(a, "QUIT :bye\r\n");
    assert_eq!(s.read(b), "");
    s.send(a2, "QUIT :bye\r\n");
    assert_eq!(s.read(b), ":alice!alice@localhost QUIT :Quit: bye\r\n");
    let a = s.irc("alice", "batch");
    s.send(a, "JOIN #c\r\nNS SET ALWAYS-ON true\r\n");
    s.read(b);
    s.send(a, "QUIT :bye\r\n");
    assert_eq!(s.read(b), "");
    assert!(s.send(b, "NAMES #c\r\n").contains("alice"));
    let a = s.irc("alice", "batch");
    assert!(s.read(a).contains("JOIN #c") || s.send(a, "PING x\r\n").contains("PONG"));
    s.send(a, "NS SET ALWAYS-ON default\r\nQUIT\r\n");
    assert!(s.read(b).contains("QUIT"));
}

#[test]
fn tags_that_are_to_last_are_history() {
    let mut s = Server::new();
    s.register("alice");
    s.register("bob");
    let caps = "message-tags batch draft/chathistory";
    let a = s.irc("alice", &format!("{caps} draft/event-playback"));
    let b = s.irc("bob", caps);
    s.send(a, "JOIN #c\r\n");
    s.send(b, "JOIN #c\r\n");
    s.send(a, "@+x=1;+draft/persist TAGMSG #c\r\n@+y=1 TAGMSG #c\r\n");
    assert_eq!(s.read(b).matches("TAGMSG #c").count(), 2);
    assert_eq!(s.send(a, "CHATHISTORY LATEST #c * 50\r\n").matches("TAGMSG #c").count(), 1);
    assert_eq!(s.send(b, "CHATHISTORY LATEST #c * 50\r\n").matches("TAGMSG #c").count(), 0);
}

#[test]
fn several_are_kicked_at_once() {
    let mut s = Server::new();
    for name in ["alice", "bob", "eve"] {
        s.register(name);
    }
    let a = s.irc("alice", "batch");
    for name in ["bob", "eve"] {
        let c = s.irc(name, "batch");
        s.send(c, "JOIN #c,#d\r\n");
    }
    s.send(a, "JOIN #e\r\n");
    assert!(s.send(a, "KICK #c,#d,#e bob,eve\r\n").contains(" 461 "));
    let b = s.irc("bob", "batch");
    s.read(b);
    let got = s.send(b, "KICK #c,#d eve,eve :out\r\n");
    assert!(got.contains("KICK #c eve :out") && got.contains("KICK #d eve :out"), "{got}");
}

#[test]
fn public_values_are_told_to_who_wants_them() {
    let mut s = Server::new();
    s.register("alice");
    s.register("bob");
    let caps = "batch draft/metadata-3 setname";
    let a = s.irc("alice", caps);
    let b = s.irc("bob", caps);
    let c = s.open_on(Protocol::Irc);
    let got = s.send(c, "CAP LS 302\r\n");
    assert!(got.contains("draft/metadata-3=before-connect,max-subs="), "{got}");
    assert!(s.send(b, "METADATA * SUB display-name url\r\n").contains(" 770 bob display-name url\r\n"));
    s.send(a, "JOIN #c\r\n");
    s.send(a, "METADATA #c SET url :https://c.example\r\n");
    let got = s.send(b, "JOIN #c\r\n");
    assert!(got.contains(" 761 bob #c url * :https://c.example\r\n"), "{got}");
    s.read(a);
    let got = s.send(a, "METADATA * SET display-name :Alice A.\r\n");
    assert_eq!(got, ":localhost 761 alice alice display-name * :Alice A.\r\n");
    let got = s.read(b);
    assert!(
        got.contains(" 761 bob alice display-name * :Alice A.\r\n") && got.contains("SETNAME :Alice A."),
        "{got}"
    );
    let got = s.send(b, "WHOIS alice\r\n");
    assert!(got.contains(" 311 bob alice alice localhost * :Alice A."), "{got}");
    assert!(got.contains(" 760 bob alice display-name * :Alice A."), "{got}");
    let got = s.send(b, "METADATA alice GET display-name nothing\r\n");
    assert!(got.contains("BATCH +d") && got.contains(" 761 ") && got.contains(" 766 "), "{got}");
    assert!(s.send(b, "METADATA alice SET url :x\r\n").contains("FAIL METADATA KEY_NO_PERMISSION alice url"));
    assert!(s.send(b, "METADATA #c SET url :x\r\n").contains("FAIL METADATA KEY_NO_PERMISSION #c url"));
    let long = "x".repeat(301);
    assert!(
        s.send(b, &format!("METADATA * SET url :{long}\r\n")).contains("FAIL METADATA INVALID_VALUE url")
    );
    let got = s.send(a, "METADATA #c CLEAR\r\n");
    assert!(got.contains(" 766 alice #c url "), "{got}");
    assert!(s.read(b).contains(" 766 bob #c url "));
    // SETNAME is the same value, and the next connection has it.
    s.send(a, "SETNAME :Al\r\n");
    assert!(s.read(b).contains(" 761 bob alice display-name * :Al\r\n"));
    let a2 = s.irc("alice", "batch");
    s.read(a2);
    assert!(s.send(b, "WHOIS alice\r\n").contains(" * :Al\r\n"));
}

#[test]
fn private_messages_are_taken_from_some_only() {
    let mut s = Server::with(|config| config.guests = lavina_core::settings::Guests::Free);
    s.register("alice");
    let a = s.irc("alice", "batch");
    let g = s.open_on(Protocol::Irc);
    s.send(g, "NICK gast\r\nUSER g 0 * :Guest\r\n");
    s.send(a, "MODE alice +RT\r\n");
    assert!(s.send(g, "PRIVMSG alice :hi\r\n").contains(" 477 gast alice "));
    s.send(a, "ACCEPT gast\r\n");
    assert_eq!(s.send(g, "PRIVMSG alice :hi\r\n"), "");
    assert!(s.send(g, "PRIVMSG alice :\u{1}PING 1\u{1}\r\n").contains(" 531 gast alice "));
    assert!(s.send(a, "ACCEPT *\r\n").contains(" 281 alice gast\r\n"));
    s.send(a, "ACCEPT -gast\r\n");
    assert!(s.send(g, "PRIVMSG alice :hi\r\n").contains(" 477 "));
    s.send(a, "PRIVMSG gast :you may answer\r\n");
    s.read(g);
    assert_eq!(s.send(g, "PRIVMSG alice :thanks\r\n"), "");
}

#[test]
fn strangers_do_not_see_where_somebody_is() {
    let mut s = Server::with(|config| {
        config.guests = lavina_core::settings::Guests::Free;
        config.rooms.who_may_create = lavina_core::settings::WhoMay::Everybody;
    });
    s.register("alice");
    s.register("bob");
    let a = s.irc("alice", "batch");
    let x = s.login("bob", "x");
    s.send(x, "<presence><show>away</show><status>secret</status></presence>");
    assert!(!s.send(a, "WHOIS bob\r\n").contains("secret"));
    assert!(s.send(a, "ISON bob alice\r\n").ends_with(" 303 alice :alice\r\n"));
    // A guest's channels are in no index, and hidden ones are for those who share them.
    let g = s.open_on(Protocol::Irc);
    s.send(g, "NICK gast\r\nUSER g 0 * :Guest\r\nJOIN #g\r\n");
    assert!(s.send(a, "WHOIS gast\r\n").contains(" 319 alice gast :@#g\r\n"));
    s.send(g, "MODE gast +i\r\n");
    assert!(!s.send(a, "WHOIS gast\r\n").contains(" 319 "));
    s.send(a, "JOIN #g\r\n");
    assert!(s.send(a, "WHOIS gast\r\n").contains(" 319 alice gast :@#g\r\n"));
}

#[test]
fn silence_is_the_block_list() {
    let mut s = Server::new();
    s.register("alice");
    s.register("bob");
    let a = s.irc("alice", "batch");
    let b = s.irc("bob", "batch");
    assert_eq!(s.send(a, "SILENCE +Bob!*@*\r\n"), ":alice!alice@localhost SILENCE +bob\r\n");
    assert!(s.send(a, "SILENCE\r\n").contains(" 271 alice alice bob\r\n"));
    s.send(b, "PRIVMSG alice :hello?\r\n");
    assert_eq!(s.read(a), "");
    let x = s.login("alice", "x");
    assert!(
        s.send(x, "<iq type='get' id='b'><blocklist xmlns='urn:xmpp:blocking'/></iq>")
            .contains("bob@localhost")
    );
    s.send(a, "SILENCE -bob\r\n");
    s.send(b, "PRIVMSG alice :hello!\r\n");
    assert!(s.read(a).ends_with(":hello!\r\n"));
}

#[test]
fn away_before_anything_else_and_tls_for_good() {
    let mut s = Server::with(|config| config.irc.sts_days = 30);
    s.register("alice");
    s.register("bob");
    let c = s.open_on(Protocol::Irc);
    let got = s.send(c, "CAP LS 302\r\nCAP REQ :draft/pre-away sts\r\n");
    assert!(got.contains(" sts=port=6697") && got.contains(" NAK "), "{got}");
    s.send(c, "CAP REQ :draft/pre-away\r\nAWAY *\r\nPASS alice:secret\r\nNICK alice\r\nUSER x 0 * :R\r\nCAP END\r\n");
    let b = s.irc("bob", "batch");
    assert!(s.send(b, "PRIVMSG alice :hi\r\n").contains(" 301 bob alice :"));
}

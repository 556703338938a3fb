//! What is stored together is shown together: whole rooms, one worker, the memory store.
#![allow(clippy::unwrap_used, missing_docs)]

mod server;

use lavina_codecs::settings::Protocol;
use lavina_core::ids::ConnId;
use server::Server;

/// A member of `#lobby` on IRC, with capabilities.
fn irc(s: &mut Server, nick: &str, caps: &str) -> ConnId {
    s.register(nick);
    let c = s.irc(nick, caps);
    let got = s.send(c, "JOIN #lobby\r\n");
    assert!(got.contains(" 366 "), "{got}");
    c
}

/// The numbers of the words (`word7`) in what was shown, in order.
fn words(shown: &str) -> Vec<u32> {
    let numbers = shown.split("word").skip(1);
    numbers.map(|n| n.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()).collect()
}

#[test]
fn what_many_say_at_once_is_seen_by_all_in_one_order() {
    let mut s = Server::unlimited();
    let alice = irc(&mut s, "alice", "echo-message");
    let bob = irc(&mut s, "bob", "echo-message message-tags");
    let carol = irc(&mut s, "carol", "multi-prefix");
    let dave = s.online("dave");
    s.join(dave, "lobby", "dave");
    for c in [alice, bob, carol, dave] {
        s.read(c);
    }
    s.stalled = true;
    for n in 0..40 {
        match n % 4 {
            0 => s.send(alice, &format!("PRIVMSG #lobby :word{n}\r\n")),
            1 => s.send(bob, &format!("PRIVMSG #lobby :word{n}\r\n")),
            2 => s.send(carol, &format!("PRIVMSG #lobby :word{n}\r\n")),
            _ => s.send(
                dave,
                &format!(
                    "<message type='groupchat' to='lobby@rooms.localhost'><body>word{n}</body></message>"
                ),
            ),
        };
        // Something else in between, for one of them and for all.
        if n == 13 {
            s.send(carol, "PING word100\r\nTOPIC #lobby :word200\r\n");
        }
    }
    for c in [alice, bob, carol, dave] {
        assert_eq!(words(&s.read(c)), [] as [u32; 0]);
    }
    s.unstall();
    let all: Vec<u32> = (0..40).collect();
    for c in [alice, bob, dave] {
        let seen: Vec<u32> = words(&s.read(c)).into_iter().filter(|n| *n < 100).collect();
        assert_eq!(seen, all);
    }
    // Without echo-message a client does not see its own.
    let seen: Vec<u32> = words(&s.read(carol)).into_iter().filter(|n| *n < 100).collect();
    assert_eq!(seen, all.iter().copied().filter(|n| n % 4 != 2).collect::<Vec<_>>());
}

#[test]
fn who_comes_and_goes_meanwhile_sees_what_was_said_while_there() {
    let mut s = Server::unlimited();
    let alice = irc(&mut s, "alice", "echo-message");
    let bob = irc(&mut s, "bob", "multi-prefix");
    s.register("carol");
    let carol = s.open_on(Protocol::Irc);
    s.send(carol, "PASS carol:secret\r\nNICK carol\r\nUSER x 0 * :Real\r\n");
    for c in [alice, bob, carol] {
        s.read(c);
    }
    s.stalled = true;
    for n in 0..12 {
        match n {
            4 => s.send(carol, "JOIN #lobby\r\n"),
            8 => s.send(bob, "PART #lobby\r\n"),
            _ => s.send(alice, &format!("PRIVMSG #lobby :word{n}\r\n")),
        };
    }
    s.unstall();
    let said: Vec<u32> = (0..12).filter(|n| *n != 4 && *n != 8).collect();
    assert_eq!(words(&s.read(alice)), said);
    assert_eq!(words(&s.read(bob)), said.iter().copied().filter(|n| *n < 8).collect::<Vec<_>>());
    assert_eq!(words(&s.read(carol)), said.iter().copied().filter(|n| *n > 4).collect::<Vec<_>>());
}

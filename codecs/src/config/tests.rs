#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;

fn read(text: &str) -> Parsed {
    parse("lavina.toml", text)
}

fn good(text: &str) -> Config {
    let parsed = read(text);
    assert!(parsed.diagnostics.is_empty(), "{text}\n{}", shown(&parsed));
    parsed.config
}

fn shown(parsed: &Parsed) -> String {
    parsed.diagnostics.iter().map(|d| format!("{d}\n")).collect()
}

#[test]
fn nothing_is_the_default() {
    assert_eq!(good(""), Config::default());
}

#[test]
fn the_example_changes_nothing_and_holds_every_key() {
    assert_eq!(good(&example()), Config::default());
    for section in keys::SECTIONS {
        assert!(example().contains(&section.header()), "{}", section.name);
    }
}

#[cfg(all(feature = "irc", feature = "xmpp", feature = "http", feature = "tls"))]
#[test]
fn every_key_of_the_example_works_when_uncommented() {
    let uncommented: String = example()
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(key) if !key.starts_with(' ') => format!("{key}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let config = good(&uncommented);
    assert_eq!(config.irc.oper.len(), 1);
    let plain = Config {
        data_dir: None,
        shards: None,
        tls: Tls::default(),
        irc: Config::default().irc,
        http: Http::default(),
        ..config
    };
    assert_eq!(plain, Config::default(), "the defaults shown are the defaults");
}

#[test]
fn the_reference_page_has_every_key() {
    let page = reference();
    let all = keys::rows(keys::ROOT).into_iter().chain(keys::SECTIONS.iter().flat_map(|s| (s.rows)()));
    for row in all {
        assert!(page.contains(&format!("| `{}` |", row.name)), "{}", row.name);
    }
}

#[test]
fn the_reference_page_in_the_repository_is_current() {
    let committed = include_str!("../../../docs/configuration.md");
    assert!(committed == reference(), "run `lavina config reference > docs/configuration.md`");
}

#[test]
fn what_a_reload_cannot_change_is_named() {
    let old = Config::default();
    let new = read("domain = \"example.org\"\nworkers = 2\n[irc]\nmotd = \"new\"").config;
    assert_eq!(old.needs_restart(&new), ["domain", "workers"]);
    assert!(old.needs_restart(&old).is_empty());
}

#[cfg(all(feature = "irc", feature = "xmpp", feature = "http", feature = "tls"))]
#[test]
fn a_whole_file() {
    let config = good(
        r#"
        domain = "Chat.Example.org"
        data-dir = "/srv/chat"
        guests = "named"
        durability = "process"
        [[listen]]
        address = "0.0.0.0:6697"
        protocol = "irc"
        [[listen]]
        address = "[::1]:5222"
        protocol = "xmpp"
        tls = "off"
        proxy = true
        [limits]
        connections = 5
        flood = false
        preset = "small"
        [irc]
        network = "Net"
        [[irc.oper]]
        name = "root"
        password = "x"
        "#,
    );
    assert_eq!(config.domain, "chat.example.org");
    assert_eq!(config.guests, Guests::Named);
    assert_eq!(config.durability, Durability::Process);
    assert_eq!(config.listen.len(), 2);
    assert_eq!(config.listen[0].tls, ListenTls::Direct);
    assert!(config.listen[1].proxy);
    let limits = config.limits.values;
    assert_eq!((limits.connections, limits.flood_burst), (5, 0), "overrides hold wherever the preset stands");
    assert_eq!(limits.outbox, Limits::SMALL.outbox);
    assert_eq!(config.irc.oper[0].name, "root");
    assert_eq!(format!("{:?}", config.irc.oper[0]), "Oper(root)", "no password in debug output");
}

/// What is refused, and how it is told.
#[test]
fn refusals() {
    for (text, expected) in [
        ("domian = \"x\"", "lavina.toml:1:1: error: unknown key `domian`\n  did you mean `domain`?"),
        (
            "[log]\nlevle = \"info\"",
            "lavina.toml:2:1: error: unknown key `levle` in [log]\n  did you mean `level`?",
        ),
        (
            "[log]\nguests = \"off\"",
            "lavina.toml:2:1: error: unknown key `guests` in [log]\n  `guests` belongs at the top of the file, before the \
             first [table]",
        ),
        (
            "certificate = \"x\"",
            "lavina.toml:1:1: error: unknown key `certificate`\n  `certificate` belongs in [tls]",
        ),
        (
            "banana = 1",
            "lavina.toml:1:1: error: unknown key `banana`\n  `lavina config example` shows all keys",
        ),
        (
            "guests = \"maned\"",
            "lavina.toml:1:11: error: `guests`: \"maned\" is not one of \"off\", \"named\" or \"free\"\n  did you mean \
             \"named\"?",
        ),
        (
            "workers = true",
            "lavina.toml:1:11: error: `workers`: expected a whole number from 0 to 64, found boolean",
        ),
        (
            "workers = 65",
            "lavina.toml:1:11: error: `workers`: expected a whole number from 0 to 64, found integer",
        ),
        ("domain = \"a_b\"", "lavina.toml:1:11: error: `domain`: \"a_b\" is no domain name"),
        ("domain = \"bücher.de\"", "write \"bücher.de\" in its ASCII form"),
        ("shards = 3", "`shards` must be 1, 2, 4, 8, 16, 32 or 64"),
        ("log = 3", "lavina.toml:1:7: error: `log` must be a table\n  write it as [log]"),
        ("[listen]\naddress = \"*:1\"", "`listen` must be a list of tables\n  write it as [[listen]]"),
        ("[[listen]]\nprotocol = \"irc\"", "this [[listen]] has no `address`"),
        ("[[listen]]\naddress = \"localhost:1\"", "this [[listen]] has no `protocol`"),
        ("[[listen]]\naddress = \"localhost\"\nprotocol = \"irc\"", "`localhost` is no address with a port"),
        (
            "[[listen]]\naddress = \"*:1\"\nprotocol = \"ric\"",
            "is not one of \"irc\", \"xmpp\" or \"http\"\n  did you mean \"irc\"?",
        ),
        ("[[irc.oper]]\nname = \"x\"", "this [[irc.oper]] has no `password`"),
        ("[tls]\nkey = \"k.pem\"", "`certificate` and `key` belong together"),
        ("[password]\niterations = 4095", "expected a whole number from 4096"),
        ("[http]\nurl = \"chat.example.org\"", "must be like \"https://chat.example.org\""),
        ("[http]\nurl = \"https://chat.example.org/x\"", "must be like"),
        ("[irc]\nnetwork = \"two words\"", "must be one word"),
        ("domain =", "not valid TOML"),
        ("a = 1\na = 2", "not valid TOML"),
    ] {
        let parsed = read(text);
        assert!(shown(&parsed).contains(expected), "{text}\n{}", shown(&parsed));
        assert!(!parsed.is_usable(), "{text}");
    }
}

#[cfg(all(feature = "irc", feature = "xmpp", feature = "http", feature = "tls"))]
#[test]
fn listeners_that_would_betray_passwords_are_refused() {
    let listen = |address: &str, protocol: &str, tls: &str| {
        format!("[[listen]]\naddress = \"{address}\"\nprotocol = \"{protocol}\"\ntls = \"{tls}\"\n")
    };
    let open = listen("*:6667", "irc", "off");
    assert!(shown(&read(&open)).contains("can be reached from other machines"));
    good(&format!("plaintext-anywhere = true\n{open}"));
    good(&listen("127.0.0.1:6667", "irc", "off"));
    good(&listen("*:5222", "xmpp", "starttls"));
    assert!(shown(&read(&listen("*:6667", "irc", "starttls"))).contains("IRC has no STARTTLS here"));
    assert!(shown(&read(&listen("*:8008", "http", "off"))).contains("can be reached from other machines"));
    assert!(shown(&read(&listen("*:8008", "http", "starttls"))).contains("HTTP has no STARTTLS"));
    let twice = [listen("*:1", "irc", "direct"), listen("*:1", "xmpp", "direct")].concat();
    assert!(shown(&read(&twice)).contains("*:1 is listened on twice"));
}

#[test]
fn all_that_is_wrong_is_told_at_once_in_order() {
    let parsed = read("domian = 1\nguests = 2\n[log]\nlevel = 3\n");
    let lines: Vec<usize> = parsed.diagnostics.iter().map(|d| d.line).collect();
    assert_eq!(lines, [1, 2, 4]);
}

proptest! {
    #[test]
    fn any_text_is_read_without_panic(text in "[ -~\n]{0,200}") {
        for diagnostic in read(&text).diagnostics {
            prop_assert!(diagnostic.line >= 1 && diagnostic.column >= 1);
        }
    }

    #[test]
    fn any_value_of_any_key(
        key in "(domain|workers|guests|shards|tls.key|log.level|limits.outbox|irc.motd|listen|irc)",
        value in "(-?[0-9]{1,19}|true|\"[ -!#-~]{0,20}\"|\\[\\]|\\{\\}|1.5)",
    ) {
        read(&format!("{key} = {value}"));
    }
}

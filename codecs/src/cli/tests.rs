#![allow(clippy::unwrap_used)]

use super::*;

fn read(line: &str) -> Result<Invocation, UsageError> {
    parse("lavina", line.split_whitespace().map(OsString::from))
}

fn command(line: &str) -> Command {
    read(line).unwrap_or_else(|e| panic!("{line}: {e}")).command
}

fn printed(line: &str) -> String {
    match command(line) {
        Command::Print(text) => text,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn commands() {
    let name = || "alice".to_owned();
    for (line, expected) in [
        ("", Command::Run),
        ("--self-test", Command::SelfTest),
        ("user add alice", Command::Admin(Admin::UserAdd { name: name(), admin: false })),
        ("user add --admin alice", Command::Admin(Admin::UserAdd { name: name(), admin: true })),
        ("user list", Command::Admin(Admin::UserList)),
        ("user passwd alice", Command::Admin(Admin::UserPasswd { name: name() })),
        ("user disable alice", Command::Admin(Admin::UserDisable { name: name() })),
        ("user enable alice", Command::Admin(Admin::UserEnable { name: name() })),
        ("user delete alice", Command::Admin(Admin::UserDelete { name: name() })),
        ("room list", Command::Admin(Admin::RoomList)),
        ("room show lobby", Command::Admin(Admin::RoomShow { name: "lobby".to_owned() })),
        ("invite create", Command::Admin(Admin::InviteCreate { uses: 1, days: 7, admin: false })),
        (
            "invite create --uses=5 --days 0 --admin",
            Command::Admin(Admin::InviteCreate { uses: 5, days: 0, admin: true }),
        ),
        ("backup /tmp/x", Command::Admin(Admin::Backup { file: PathBuf::from("/tmp/x") })),
        ("status", Command::Admin(Admin::Status)),
        ("config check", Command::ConfigCheck),
        ("config example", Command::ConfigExample),
        ("config reference", Command::ConfigReference),
    ] {
        assert_eq!(command(line), expected, "{line}");
    }
}

#[test]
fn options_stand_anywhere() {
    for line in [
        "--config a.toml --data-dir d user list",
        "user list --config a.toml -d d",
        "-c a.toml user -dd list",
        "--config=a.toml --data-dir=d user list",
    ] {
        let read = read(line).unwrap();
        assert_eq!(read.config, Some(PathBuf::from("a.toml")), "{line}");
        assert_eq!(read.data_dir, Some(PathBuf::from("d")), "{line}");
        assert_eq!(read.command, Command::Admin(Admin::UserList), "{line}");
    }
}

#[test]
fn mistakes_are_answered_with_the_way_out() {
    for (line, expected) in [
        ("usr add alice", "there is no command `usr`\nDid you mean `user`?"),
        ("user ad alice", "there is no command `user ad`\nDid you mean `user add`?"),
        (
            "user",
            "`user` needs to be told what to do\nThere are: add, list, passwd, disable, enable, delete.",
        ),
        ("user add", "NAME is missing\nUsage: user add NAME [--admin]"),
        ("user add a b", "`b` is too much\nUsage: user add NAME [--admin]"),
        ("user list --admin", "--admin is no option of user list\nSee --help."),
        ("--uses 3", "--uses is no option of the server\nSee --help."),
        ("--confg x", "there is no option --confg\nDid you mean --config?"),
        ("-x", "there is no option -x\nSee --help."),
        ("--config", "missing argument for option '--config'\nSee --help."),
        ("invite create --uses many", "--uses: `many` is no whole number\nSee --help."),
        ("help banana", "there is no command `banana`\nSee --help."),
        ("--self-test user list", "--self-test is no option of user list\nSee --help."),
    ] {
        assert_eq!(read(line).map_err(|e| e.to_string()), Err(expected.to_owned()), "{line}");
    }
}

#[test]
fn help_has_every_command_and_option() {
    let all = printed("--help");
    for row in COMMANDS.iter().filter(|c| !c.path.is_empty()) {
        assert!(all.contains(&row.usage()), "{}", row.usage());
        let one = printed(&format!("help {}", row.path.join(" ")));
        assert!(one.contains(row.summary.split(' ').next().unwrap()), "{one}");
        assert_eq!(one, printed(&format!("{} --help", row.path.join(" "))));
        let example = read(row.example.split(" > ").next().unwrap());
        assert!(example.is_ok(), "the example `{}` must work", row.example);
    }
    for option in OPTIONS.iter().filter(|o| o.global) {
        assert!(all.contains(&format!("--{}", option.long)), "{}", option.long);
    }
    assert!(all.lines().all(|l| l.chars().count() <= 90), "it fits a terminal");
    assert!(printed("help user").contains("user passwd NAME"));
    assert!(printed("version").starts_with("lavina 0."));
    assert_eq!(printed("--version"), printed("version"));
}

#[test]
fn exit_codes_are_told_apart() {
    let mut codes: Vec<u8> = Exit::TABLE.iter().map(|(e, _)| e.code()).collect();
    codes.dedup();
    assert_eq!(codes.len(), Exit::TABLE.len());
    assert!(codes.is_sorted());
}

#[cfg(unix)]
#[test]
fn file_names_need_not_be_utf8() {
    use std::os::unix::ffi::OsStringExt;
    let odd = OsString::from_vec(b"/tmp/\xff".to_vec());
    let read = parse("lavina", [OsString::from("backup"), odd.clone()]).unwrap();
    assert_eq!(read.command, Command::Admin(Admin::Backup { file: PathBuf::from(&odd) }));
    assert!(parse("lavina", [OsString::from("user"), OsString::from("add"), odd]).is_err());
}

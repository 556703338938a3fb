//! How the program ends: exit codes of `sysexits.h`, so that scripts and service managers can tell.

/// An exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All is well.
    Ok = 0,
    /// The command line makes no sense.
    Usage = 64,
    /// What was given is not acceptable: a bad name, a taken name, a weak invitation.
    Data = 65,
    /// There is no such account, room or file.
    NoInput = 66,
    /// The server does not answer, or a port is taken.
    Unavailable = 69,
    /// A fault in the program itself.
    Software = 70,
    /// A file cannot be made.
    CantCreate = 73,
    /// Reading or writing failed.
    Io = 74,
    /// Busy at the moment: try again.
    TryAgain = 75,
    /// The operating system forbids it.
    NoPermission = 77,
    /// The configuration is wrong.
    Config = 78,
}

impl Exit {
    /// All codes with their meaning: the table in `--help`.
    pub const TABLE: [(Self, &'static str); 11] = [
        (Self::Ok, "all is well"),
        (Self::Usage, "the command line makes no sense"),
        (Self::Data, "a name or value is not acceptable"),
        (Self::NoInput, "no such account, room or file"),
        (Self::Unavailable, "the server does not answer, or an address is taken"),
        (Self::Software, "a fault in the program"),
        (Self::CantCreate, "a file cannot be made"),
        (Self::Io, "reading or writing failed"),
        (Self::TryAgain, "busy, try again"),
        (Self::NoPermission, "the operating system forbids it"),
        (Self::Config, "the configuration is wrong"),
    ];

    /// The number.
    pub const fn code(self) -> u8 {
        self as u8
    }
}

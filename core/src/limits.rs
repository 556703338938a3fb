//! All limits, in one place. Each says what happens when it is reached.

/// Sizes and counts. Two presets: [`Limits::SMALL`] for boards with little memory, [`Limits::LARGE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections of the whole server; above: accepting pauses until one goes.
    pub connections: u32,
    /// Connections from one address (an IPv6 /64 is one); above: closed with a reason. Zero: any number.
    pub connections_per_address: u32,
    /// Bytes of unparsed input of one connection; above: reading pauses.
    pub inbox: usize,
    /// Bytes of output waiting for one session; above: the session ends with its protocol's word.
    pub outbox: usize,
    /// Requests of one session in flight; above: reading pauses.
    pub window: usize,
    /// Milliseconds for logging in; above: closed with a reason.
    pub login_time: u64,
    /// Milliseconds a session without connection waits to be resumed; above: it ends.
    pub resume_time: u64,
    /// Sessions of one account; above: the login is refused.
    pub sessions_per_account: usize,
    /// Rooms one session is attached to; above: the join is refused.
    pub rooms_per_session: usize,
    /// Bytes of one text; above: refused.
    pub text: usize,
    /// Bytes of a native payload; above: it is left out.
    pub native: usize,
    /// Bytes of a topic; above: refused.
    pub topic: usize,
    /// Bytes of what an account is called in one room besides its name; above: refused.
    pub alias: usize,
    /// Entries on the mask lists of a room together; above: refused.
    pub masks: usize,
    /// Rows of members of a room; above: refused as full.
    pub members: usize,
    /// Bytes of all named values of an account or of a room; above: refused.
    pub attrs: usize,
    /// Named values of an account or of a room; above: refused.
    pub attr_count: usize,
    /// Letters waiting under one label of an account; above: the oldest go.
    pub letters: usize,
    /// Contacts of an account; above: refused.
    pub contacts: usize,
    /// Blocked addresses of an account; above: refused.
    pub blocked: usize,
    /// Reactions of one person to one message; above: refused.
    pub reactions: usize,
    /// Entries kept with a room in memory for late attaches; older ones cost a read.
    pub tail: usize,
    /// Entries of one history answer; more are cut to this.
    pub page: u32,
    /// Entities in memory a worker; above: idle ones are put out, then commands are refused as busy.
    pub entities: usize,
    /// Commands waiting for one entity to be read; above: refused as busy.
    pub waiting: usize,
    /// Mail waiting for one other worker; above: shards stop showing until there is room.
    pub mailbox: usize,
    /// Inputs and messages handled in one turn; above: the rest waits for the next turn.
    pub turn: usize,
    /// Milliseconds within which a repeated message is the same message.
    pub once_time: u64,
    /// Flood: what a session may spend at once. Zero: no flood control.
    pub flood_burst: u32,
    /// Flood: what a session earns in a second.
    pub flood_rate: u32,
    /// Names one session watches; above: refused.
    pub watches: usize,
    /// Bytes of one transfer of media under way; above: an upload's reading pauses, a download waits
    /// until its output drains.
    pub blob: usize,
    /// Transfers of media a worker; above: refused as busy.
    pub blobs: usize,
    /// Uploads of one account; above: refused.
    pub media: usize,
    /// Bytes of one upload; above: refused.
    pub media_size: u64,
    /// Bytes of all uploads of one account; above: refused.
    pub media_bytes: u64,
    /// Jobs (password derivations) waiting a worker; above: refused as busy.
    pub jobs: usize,
    /// Failed logins of one connection; above: closed with a reason.
    pub login_tries: u32,
    /// Milliseconds without a byte after which a session is asked whether it lives; half as much later it ends.
    pub idle_time: u64,
}

impl Limits {
    /// For one core and little memory.
    pub const SMALL: Limits = Limits {
        connections: 1_000,
        connections_per_address: 32,
        inbox: 32 * 1024,
        outbox: 256 * 1024,
        window: 32,
        login_time: 60_000,
        resume_time: 300_000,
        sessions_per_account: 16,
        rooms_per_session: 100,
        text: 16 * 1024,
        native: 48 * 1024,
        topic: 2_048,
        alias: 128,
        masks: 100,
        members: 5_000,
        attrs: 256 * 1024,
        attr_count: 500,
        letters: 1_000,
        contacts: 500,
        blocked: 200,
        reactions: 20,
        tail: 32,
        page: 200,
        entities: 4_000,
        waiting: 64,
        mailbox: 4_096,
        turn: 512,
        once_time: 600_000,
        flood_burst: 20_000,
        flood_rate: 2_000,
        watches: 128,
        blob: 64 * 1024,
        blobs: 32,
        media: 1_000,
        media_size: 50 << 20,
        media_bytes: 1 << 30,
        jobs: 64,
        login_tries: 5,
        idle_time: 180_000,
    };

    /// For servers.
    pub const LARGE: Limits = Limits {
        connections: 100_000,
        connections_per_address: 64,
        inbox: 96 * 1024,
        outbox: 2 * 1024 * 1024,
        window: 64,
        members: 50_000,
        attrs: 2 * 1024 * 1024,
        attr_count: 5_000,
        letters: 20_000,
        rooms_per_session: 500,
        sessions_per_account: 64,
        contacts: 5_000,
        blocked: 1_000,
        tail: 64,
        page: 1_000,
        entities: 200_000,
        waiting: 1_024,
        mailbox: 65_536,
        turn: 2_048,
        blob: 256 * 1024,
        blobs: 512,
        media: 20_000,
        jobs: 1_024,
        ..Limits::SMALL
    };
}

// The relations that other code relies on.
const _: () = {
    let mut i = 0;
    let presets = [Limits::SMALL, Limits::LARGE];
    while i < presets.len() {
        let l = &presets[i];
        // An event with text and native form fits into the outbox, a whole message into the inbox.
        assert!(l.outbox > 2 * (l.text + l.native));
        assert!(l.inbox > l.text);
        // A whole transfer's credit fits beside what else is said, however TLS divides it.
        assert!(l.outbox >= 2 * l.blob && l.blob >= 4);
        assert!(l.window > 0 && l.turn > 0 && l.tail > 0 && l.page > 0);
        assert!(l.flood_burst >= l.flood_rate);
        i += 1;
    }
};

impl Default for Limits {
    fn default() -> Limits {
        Limits::LARGE
    }
}

//! From the command line to a running server, and back to an exit code. Both binaries call [`main`].

use crate::{
    door::{self, Door},
    home::Home,
    jobs::Jobs,
    log::{Format, Logger},
    memory::{self, Keeper},
    outside::{self, Outside, Storage, Wish},
    places,
    post::{Post, PostOffice},
    runtime::{Running, Runtime},
    seats::Seats,
    selftest,
    service::{Manager, State},
    talk,
};
use lavina_codecs::{
    cli::{self, Command, Exit, Invocation},
    config::{self, Config, LogFormat},
    session::Session,
    settings::{Bind, Listener, Protocol, Security},
};
use lavina_core::{
    Worker,
    blob::{BlobId, BlobOp},
    ids::{Epoch, Ticket, WorkerId},
    log::{Level, Log},
    row::{Asked, Change},
};
use lavina_store::{
    Durability, Sqlite, Store,
    blobs::{self, Files},
    sqlite::Options,
    threads::{self, Setup, Threads},
};
use std::{
    ffi::OsString,
    io::{Write, stderr, stdout},
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    time::Duration,
};

/// How long a stopping server waits for its clients and its store.
const STOP_TIME: Duration = Duration::from_secs(10);

/// Why something could not be done, with the exit code that says so.
pub(crate) struct Trouble(pub Exit, pub String);

impl Trouble {
    pub(crate) fn io(what: impl std::fmt::Display, e: &std::io::Error) -> Trouble {
        let exit = match e.kind() {
            std::io::ErrorKind::PermissionDenied => Exit::NoPermission,
            std::io::ErrorKind::AddrInUse => Exit::Unavailable,
            _ => Exit::Io,
        };
        Trouble(exit, format!("{what}: {e}"))
    }
}

/// Does what the command line asks for. `workers`: how many there are when the configuration leaves it open.
pub fn main<R: Runtime>(program: &str, workers: u8) -> u8 {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let done = match cli::parse(program, args) {
        Ok(invocation) => carry_out::<R>(invocation, workers),
        Err(e) => Err(Trouble(Exit::Usage, e.to_string())),
    };
    match done {
        Ok(code) => code,
        Err(Trouble(exit, why)) => {
            // Nothing is left to tell it to when standard error is closed.
            let _ = writeln!(stderr(), "{program}: {why}");
            exit.code()
        }
    }
}

fn carry_out<R: Runtime>(invocation: Invocation, workers: u8) -> Result<u8, Trouble> {
    let print = |text: String| {
        let written = stdout().write_all(text.as_bytes());
        written.map(|()| Exit::Ok.code()).map_err(|e| Trouble::io("standard output", &e))
    };
    match &invocation.command {
        Command::Print(text) => print(text.clone()),
        Command::ConfigExample => print(config::example()),
        Command::ConfigReference => print(config::reference()),
        Command::ConfigCheck => configuration(&invocation).map(|_| Exit::Ok.code()),
        Command::Admin(admin) => {
            let config = configuration(&invocation)?;
            let home = Home::open(&config)?;
            let password = if admin.needs_password() { Some(talk::password()?) } else { None };
            if let Some(code) = talk::carry_out(&home.socket(), admin, password.clone())? {
                return Ok(code);
            }
            // Nobody answers there: this process is the server for as long as it takes.
            let server = Server::<R>::start(&config, &home, 1, false)?;
            let code = talk::carry_out(&home.socket(), admin, password)?;
            server.stop()?;
            code.ok_or_else(|| Trouble(Exit::Software, "the control socket does not answer".to_owned()))
        }
        Command::SelfTest => selftest::run::<R>(),
        Command::Run => {
            let config = configuration(&invocation)?;
            raise_file_limit();
            let home = Home::open(&config)?;
            let workers = match config.workers {
                0 => workers,
                n => u8::try_from(n).unwrap_or(u8::MAX),
            };
            let server = Server::<R>::start(&config, &home, workers, true)?;
            server.welcome(&config, &home)?;
            server.serve(&invocation, &home, &Manager::of_environment())
        }
    }
}

/// Reads the configuration; what is wrong with it is told before anything starts.
fn configuration(invocation: &Invocation) -> Result<Config, Trouble> {
    let mut config = Config::default();
    if let Some(path) = &invocation.config.clone().or_else(places::configuration) {
        let text = std::fs::read_to_string(path).map_err(|e| {
            Trouble(
                Exit::Config,
                format!("{}: {e}\n`config example` prints one to start from", path.display()),
            )
        })?;
        let parsed = config::parse(&path.display().to_string(), &text);
        for diagnostic in &parsed.diagnostics {
            let _ = writeln!(stderr(), "{diagnostic}");
        }
        if !parsed.is_usable() {
            return Err(Trouble(Exit::Config, "the configuration is wrong; nothing was started".to_owned()));
        }
        config = parsed.config;
    }
    if let Some(dir) = &invocation.data_dir {
        config.data_dir = Some(dir.display().to_string());
    }
    Ok(config)
}

/// The store's threads, as the workers' world sees them.
struct Rows {
    store: OnceLock<threads::Handle>,
    media: blobs::Handle,
}

impl Storage for Rows {
    fn append(&self, from: WorkerId, epoch: Epoch, ticket: Ticket, changes: Vec<Change>) {
        if let Some(handle) = self.store.get() {
            handle.append(from, epoch, ticket, changes);
        }
    }

    fn fetch(&self, from: WorkerId, asked: Asked) {
        if let Some(handle) = self.store.get() {
            handle.fetch(from, asked);
        }
    }

    fn blob(&self, from: WorkerId, id: BlobId, op: BlobOp) {
        self.media.carry_out(from, id, op);
    }
}

/// What may come to the main thread.
enum Call {
    Shutdown,
    Reload,
}

/// A running server.
pub(crate) struct Server<R: Runtime> {
    running: Running<Session, R::Socket>,
    store: Threads,
    calls: (Sender<Call>, Receiver<Call>),
    shards: u8,
    /// Where it listens by TCP.
    addresses: Vec<(Listener, SocketAddr)>,
}

impl<R: Runtime> Server<R> {
    /// Starts everything; `open`: with the configured listeners, else the control socket alone.
    pub(crate) fn start(config: &Config, home: &Home, workers: u8, open: bool) -> Result<Server<R>, Trouble> {
        let shards = config.shards.unwrap_or(config.limits.preset.shards());
        let workers = workers.clamp(1, shards);
        memory::plan(workers);
        let settings = Arc::new(home.settings(config, shards)?);
        let log = Arc::new(Logger::new(Some(config.log.level), format_of(config)));
        let limits = config.limits.values;
        let calls = channel();
        let post = PostOffice::<Session, R::Socket>::new(usize::from(workers), limits.mailbox);
        let media = open_media(config, home, &post)?;
        let rows = Arc::new(Rows { store: OnceLock::new(), media });
        let jobs = Jobs::start(usize::from(workers)).map_err(|e| Trouble::io("threads", &e))?;
        // The core counts connections by address; the seats bound all of them.
        let seats = Seats::new(limits.connections as usize, 0);
        let asked = calls.0.clone();
        let outside = Outside::new(
            log.clone(),
            rows.clone(),
            jobs,
            post.clone(),
            seats,
            Box::new(move |wish| {
                let call = if wish == Wish::Reload { Call::Reload } else { Call::Shutdown };
                drop(asked.send(call));
            }),
        );
        let store = open_store(config, home, shards, workers, &post, &log)?;
        let _ = rows.store.set(store.handle());
        let doors = doors(config, home, open)?;
        let addresses =
            doors.iter().filter_map(|door| door.address().map(|at| (door.listener, at))).collect();
        let machines: Result<Vec<_>, Trouble> = (0..workers)
            .map(|n| {
                Ok(Worker::<Session>::new(
                    WorkerId(n),
                    workers,
                    settings.clone(),
                    home.seed()?,
                    outside.clock.now(),
                ))
            })
            .collect();
        let running =
            Running::start::<R, _>(machines?, doors, outside).map_err(|e| Trouble::io("starting", &e))?;
        Ok(Server { running, store, calls, shards, addresses })
    }

    /// Where it listens by TCP, and for what.
    pub(crate) fn addresses(&self) -> &[(Listener, SocketAddr)] {
        &self.addresses
    }

    /// A few lines for who starts it: where it listens, how to come in.
    fn welcome(&self, config: &Config, home: &Home) -> Result<(), Trouble> {
        let mut text = format!("lavina serves {} from {}\n", config.domain, home.path().display());
        for listen in &config.listen {
            text.push_str(&format!(
                "  {:?} on {:?}, TLS {:?}\n",
                listen.protocol, listen.address, listen.tls
            ));
        }
        text.push_str(&talk::first_invitation(&home.socket())?);
        stderr().write_all(text.as_bytes()).map_err(|e| Trouble::io("standard error", &e))
    }

    /// Serves until it is told to stop.
    fn serve(self, invocation: &Invocation, home: &Home, manager: &Manager) -> Result<u8, Trouble> {
        let calls = self.calls.0.clone();
        let mut signals = signal_hook::iterator::Signals::new([
            signal_hook::consts::SIGTERM,
            signal_hook::consts::SIGINT,
            signal_hook::consts::SIGHUP,
        ])
        .map_err(|e| Trouble::io("signals", &e))?;
        std::thread::spawn(move || {
            for signal in signals.forever() {
                let call = if signal == signal_hook::consts::SIGHUP { Call::Reload } else { Call::Shutdown };
                if calls.send(call).is_err() {
                    return;
                }
            }
        });
        self.tell(manager, State::Ready);
        let mut keeper = Keeper::default();
        // Opening the store may have taken much.
        keeper.look();
        loop {
            match self.calls.1.recv_timeout(memory::EVERY) {
                Ok(Call::Reload) => self.reload(invocation, home, manager),
                Err(RecvTimeoutError::Timeout) => keeper.look(),
                Ok(Call::Shutdown) | Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.tell(manager, State::Stopping);
        self.stop()?;
        Ok(Exit::Ok.code())
    }

    /// Reads the configuration and the certificate again.
    fn reload(&self, invocation: &Invocation, home: &Home, manager: &Manager) {
        self.tell(manager, State::Reloading);
        let settings = configuration(invocation).and_then(|config| home.settings(&config, self.shards));
        match settings {
            Ok(settings) => {
                self.running.settings(&Arc::new(settings));
                self.running.outside().log.say(Level::Info, "configuration and certificate read again");
            }
            Err(Trouble(_, why)) => {
                let _ = writeln!(stderr(), "{why}");
                self.running.outside().log.say(Level::Error, "the configuration is wrong; the old one stays");
            }
        }
        self.tell(manager, State::Ready);
    }

    /// Tells who started this process; that it cannot be told does not stop the server.
    fn tell(&self, manager: &Manager, state: State) {
        if let Err(e) = manager.tell(state) {
            let log = Log::new(Level::Warn, "the service manager cannot be told").with("why", &e);
            self.running.outside().log.write(&log);
        }
    }

    /// Clients are told, everything is stored.
    pub(crate) fn stop(self) -> Result<(), Trouble> {
        self.running.stop(STOP_TIME);
        self.store.stop().map_err(|fault| Trouble(Exit::Io, fault.to_string()))
    }
}

/// Each connection is a file: as many as the system lets this process have.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        // Refused, the old limit stays, and accepting pauses there.
        let _ = setrlimit(Resource::Nofile, limit);
    }
}

fn open_store<S: crate::socket::Socket>(
    config: &Config,
    home: &Home,
    shards: u8,
    workers: u8,
    post: &Arc<PostOffice<Session, S>>,
    log: &Arc<Logger>,
) -> Result<Threads, Trouble> {
    let durability = durability(config);
    let path: PathBuf = home.path().join("lavina.db");
    let open = move |again: bool| {
        let options = Options { shards, durability, again };
        Sqlite::open(&path, &options).map(|s| Box::new(s) as Box<dyn Store + Send>)
    };
    let (post, log) = (post.clone(), log.clone());
    let deliver = move |worker: WorkerId, answer: threads::Answer| {
        let answer = match answer {
            threads::Answer::Stored(epoch, ticket) => outside::Answer::Stored(epoch, ticket),
            threads::Answer::Failed(epoch, why) => outside::Answer::Failed(epoch, why),
            threads::Answer::Ready(epoch) => outside::Answer::Ready(epoch),
            threads::Answer::Fetched(id, page) => outside::Answer::Fetched(id, page),
        };
        post.send(worker, Post::Store(answer));
    };
    let setup = Setup {
        open: Box::new(open),
        workers,
        readers: if workers > 1 { 2 } else { 1 },
        deliver: Arc::new(deliver),
        report: Arc::new(move |fault| {
            let _ = writeln!(stderr(), "{fault}");
            log.say(Level::Error, "the store failed");
        }),
    };
    Threads::start(setup).map_err(|fault| Trouble(Exit::Unavailable, fault.to_string()))
}

/// The folder of media and its thread.
fn open_media<S: crate::socket::Socket>(
    config: &Config,
    home: &Home,
    post: &Arc<PostOffice<Session, S>>,
) -> Result<blobs::Handle, Trouble> {
    let files = Files::open(&home.path().join("media"), durability(config));
    let files = files.map_err(|fault| Trouble(Exit::Io, fault.to_string()))?;
    let post = post.clone();
    let deliver =
        Arc::new(move |worker, id, done| post.send(worker, Post::Store(outside::Answer::Blob(id, done))));
    let (handle, _) = blobs::start(Box::new(files), deliver).map_err(|e| Trouble::io("threads", &e))?;
    Ok(handle)
}

fn durability(config: &Config) -> Durability {
    match config.durability {
        config::Durability::PowerLoss => Durability::Power,
        config::Durability::Process => Durability::Process,
    }
}

/// The control socket, and the configured listeners. Of a pair of addresses one may fail, on a machine without
/// that family.
fn doors(config: &Config, home: &Home, open: bool) -> Result<Vec<Door<Listener>>, Trouble> {
    let path = home.socket();
    let control = door::unix(&path).map_err(|e| Trouble::io(path.display(), &e))?;
    let listener = Listener { protocol: Protocol::Control, security: Security::Off };
    let mut doors = vec![Door { socket: control, listener, proxy: false }];
    for bind in Bind::all(config).into_iter().filter(|_| open) {
        let mut failed = None;
        let before = doors.len();
        for address in &bind.sockets {
            match door::tcp(*address) {
                Ok(socket) => doors.push(Door { socket, listener: bind.listener, proxy: bind.proxy }),
                Err(e) => failed = Some(Trouble::io(format!("cannot listen on {address}"), &e)),
            }
        }
        if let (Some(trouble), true) = (failed, doors.len() == before) {
            return Err(trouble);
        }
    }
    Ok(doors)
}

fn format_of(config: &Config) -> Format {
    match config.log.format {
        LogFormat::Text => Format::Text,
        LogFormat::Json => Format::Json,
    }
}

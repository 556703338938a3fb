//! A toy to try runtimes with: a machine that speaks lines, and checks of what a runtime must do, run
//! over loopback by the tests of each runtime.

use crate::{
    door::{self, Door},
    jobs::Jobs,
    log::{Format, Logger},
    outside::{Outside, Storage},
    post::PostOffice,
    runtime::{Running, Runtime},
    seats::Seats,
};
use lavina_core::{
    blob::{BlobId, BlobOp},
    cx::Cx,
    drive::{Drive, Due, Input, Output, Why},
    event::{Event, Live},
    ids::{ConnId, Epoch, ReqId, Ticket, WorkerId},
    name::RoomName,
    projection::{Channel, Hole, Layer, Mode, Pieces, Projection, Reason, Seen, Shown, Wake, WireClass},
    query::Reply,
    row::{Asked, Change},
    settings::Settings,
    time::{Mono, Now},
};
use std::{
    collections::{BTreeMap, VecDeque},
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    sync::Arc,
    time::Duration,
};

/// Bytes of output of one toy connection at which it stops reading.
const MUCH: usize = 64 * 1024;

/// No test waits longer for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A machine that answers lines. `hello <peer>` comes first; `quit` is answered with `bye` and a close,
/// `big <n>` with so many bytes, `later` with `now` after a while, everything else with itself.
#[derive(Debug, Default)]
pub struct Toy {
    conns: BTreeMap<ConnId, ToyConn>,
    outputs: VecDeque<ToyOutput>,
    later: Option<(Mono, ConnId)>,
}

#[derive(Debug, Default)]
struct ToyConn {
    input: Vec<u8>,
    output: Vec<u8>,
    paused: bool,
    closing: bool,
}

#[derive(Debug)]
enum ToyOutput {
    Pause(ConnId, bool),
    Flush(ConnId),
    Close(ConnId),
}

impl Toy {
    fn write(&mut self, id: ConnId, bytes: &[u8]) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.output.extend_from_slice(bytes);
        self.outputs.push_back(ToyOutput::Flush(id));
    }

    fn close(&mut self, id: ConnId, word: &[u8]) {
        self.write(id, word);
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.closing = true;
            self.outputs.push_back(ToyOutput::Close(id));
        }
    }

    fn work(&mut self, now: Now, id: ConnId) {
        while let Some(conn) = self.conns.get_mut(&id).filter(|conn| !conn.closing) {
            let much = conn.output.len() > MUCH;
            if std::mem::replace(&mut conn.paused, much) != much {
                self.outputs.push_back(ToyOutput::Pause(id, much));
            }
            let Some(end) = conn.input.iter().position(|&b| b == b'\n').filter(|_| !much) else { return };
            let line: Vec<u8> = conn.input.drain(..=end).collect();
            match line.as_slice() {
                b"quit\n" => self.close(id, b"bye\n"),
                b"later\n" => self.later = Some((now.mono + 30, id)),
                [b'b', b'i', b'g', b' ', n @ ..] => {
                    let n = String::from_utf8_lossy(n).trim().parse().unwrap_or(0);
                    self.write(id, &vec![b'x'; n]);
                }
                line => self.write(id, line),
            }
        }
    }
}

impl Drive<ToyLines> for Toy {
    fn handle(&mut self, now: Now, input: Input<'_, ToyLines>) {
        match input {
            Input::Opened(id, _, peer) => {
                assert!(self.conns.insert(id, ToyConn::default()).is_none(), "names are fresh");
                let peer = peer.map_or_else(|| "local".to_owned(), |peer| peer.ip().to_string());
                self.write(id, format!("hello {peer}\n").as_bytes());
            }
            Input::Received(id, bytes) => {
                let conn = self.conns.get_mut(&id).expect("only what is open receives");
                conn.input.extend_from_slice(bytes);
                self.work(now, id);
            }
            Input::Sent(id, n) => {
                let conn = self.conns.get_mut(&id).expect("only what is open sends");
                conn.output.drain(..n);
                self.work(now, id);
            }
            Input::Closed(id) => assert!(self.conns.remove(&id).is_some(), "closed once"),
            Input::Tick => {
                if let Some((_, id)) = self.later.take_if(|(at, _)| *at <= now.mono) {
                    self.write(id, b"now\n");
                }
            }
            Input::Drain => {
                let all: Vec<ConnId> = self.conns.keys().copied().collect();
                all.into_iter().for_each(|id| self.close(id, b"drain\n"));
            }
            _ => {}
        }
    }

    fn poll_output(&mut self) -> Option<Output<ToyLines>> {
        Some(match self.outputs.pop_front()? {
            ToyOutput::Pause(id, paused) => Output::Pause(id, paused),
            ToyOutput::Flush(id) => Output::Flush(id),
            ToyOutput::Close(id) => Output::Close(id, Reason::Bye),
        })
    }

    fn transmit(&mut self, conn: ConnId) -> &[u8] {
        self.conns.get(&conn).map_or(&[], |conn| &conn.output)
    }

    fn poll_deadline(&self) -> Due {
        self.later.map_or(Due::Idle, |(at, _)| Due::At(at, Why::Timer))
    }
}

/// What the toy speaks; the toy itself does without a projection.
#[derive(Debug)]
pub struct ToyLines;

/// The toy has no settings of its own.
#[derive(Debug, Default)]
pub struct ToySettings(Settings);

impl AsRef<Settings> for ToySettings {
    fn as_ref(&self) -> &Settings {
        &self.0
    }
}

/// The toy has no layer.
#[derive(Debug)]
pub enum NoLayer {}

impl Layer for NoLayer {
    fn read(&mut self, _: &[u8], _: &mut Vec<u8>, _: &mut Vec<u8>) -> Result<(), Reason> {
        match *self {}
    }

    fn write(&mut self, _: &[u8], _: &mut Vec<u8>) {
        match *self {}
    }

    fn close(&mut self, _: &mut Vec<u8>) {
        match *self {}
    }

    fn channel(&self) -> Option<&Channel> {
        match *self {}
    }
}

impl Projection for ToyLines {
    type Listener = ();
    type Layer = NoLayer;
    type Settings = ToySettings;
    type Job = ();
    type Done = ();

    fn accept((): (), _: Option<SocketAddr>, _: &Arc<ToySettings>) -> (ToyLines, Option<NoLayer>) {
        (ToyLines, None)
    }

    fn opened(&mut self, _: &mut Cx<'_, Self>) {}

    fn recv(&mut self, bytes: &[u8], _: &mut Cx<'_, Self>) -> Result<usize, Reason> {
        Ok(bytes.len())
    }

    fn seen(&mut self, _: &Arc<Event>, _: Seen, _: &mut Cx<'_, Self>) {}

    fn seen_live(&mut self, _: &Arc<Live>, _: Option<ReqId>, _: &mut Cx<'_, Self>) {}

    fn reply(&mut self, _: ReqId, _: Reply, _: &mut Cx<'_, Self>) {}

    fn done(&mut self, _: ReqId, (): (), _: &mut Cx<'_, Self>) {}

    fn wake(&mut self, _: Wake, _: &mut Cx<'_, Self>) {}

    fn mode(&self) -> Mode {
        Mode::Quiet
    }

    fn encode(_: WireClass, _: Option<&RoomName>, _: Shown<'_>, _: &ToySettings, _: &mut Pieces) {}

    fn hole(&self, _: Hole) -> &[u8] {
        &[]
    }

    fn run((): ()) {}
}

/// A store that is never asked.
struct Nowhere;

impl Storage for Nowhere {
    fn append(&self, _: WorkerId, _: Epoch, _: Ticket, _: Vec<Change>) {}

    fn fetch(&self, _: WorkerId, _: Asked) {}

    fn blob(&self, _: WorkerId, _: BlobId, _: BlobOp) {}
}

/// A running toy.
struct Server<R: Runtime> {
    running: Running<ToyLines, R::Socket>,
    plain: SocketAddr,
    proxied: SocketAddr,
    local: std::path::PathBuf,
}

impl<R: Runtime> Server<R> {
    fn start(workers: usize, seats: usize) -> Server<R> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let local = std::env::temp_dir().join(format!(
            "lavina-toy-{}-{:?}.sock",
            std::process::id(),
            std::thread::current().id()
        ));
        let sockets = [
            (door::tcp(any).expect("a port"), false),
            (door::tcp(any).expect("a port"), true),
            (door::unix(&local).expect("a path"), false),
        ];
        let doors: Vec<_> =
            sockets.into_iter().map(|(socket, proxy)| Door { socket, listener: (), proxy }).collect();
        let (plain, proxied) = (doors[0].address().expect("TCP"), doors[1].address().expect("TCP"));
        let outside = Outside::new(
            Arc::new(Logger::new(None, Format::Text)),
            Arc::new(Nowhere),
            Jobs::start(1).expect("a thread"),
            PostOffice::new(workers, 1_000),
            Seats::new(seats, 0),
            Box::new(|_| {}),
        );
        let toys = (0..workers).map(|_| Toy::default()).collect();
        let running = Running::start::<R, Toy>(toys, doors, outside).expect("threads");
        Server { running, plain, proxied, local }
    }

    fn connect(&self) -> Client {
        Client::new(TcpStream::connect(self.plain).expect("somebody listens"))
    }

    fn stop(self) {
        assert!(self.running.stop(PATIENCE), "all said goodbye");
        std::fs::remove_file(self.local).expect("the socket is there");
    }
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn new(stream: TcpStream) -> Client {
        stream.set_read_timeout(Some(PATIENCE)).expect("an option");
        Client(BufReader::new(stream))
    }

    fn say(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).expect("written");
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }
}

/// Many clients on several workers; each is answered in order.
pub fn echoes<R: Runtime>() {
    let server = Server::<R>::start(3, 1_000);
    let mut clients: Vec<Client> = (0..200).map(|_| server.connect()).collect();
    for round in 0..3 {
        for (n, client) in clients.iter_mut().enumerate() {
            client.say(&format!("{round} {n}\nagain\n"));
        }
        for (n, client) in clients.iter_mut().enumerate() {
            if round == 0 {
                assert_eq!(client.hear(), "hello 127.0.0.1");
            }
            assert_eq!((client.hear(), client.hear()), (format!("{round} {n}"), "again".to_owned()));
        }
    }
    clients[7].say("later\n");
    assert_eq!(clients[7].hear(), "now");
    clients.truncate(100);
    server.stop();
    for client in &mut clients {
        assert_eq!((client.hear(), client.hear()), ("drain".to_owned(), String::new()));
    }
}

/// More output than the system takes, to somebody who does not read, and more input than is read at once.
pub fn slow_readers<R: Runtime>() {
    let server = Server::<R>::start(1, 10);
    let mut client = server.connect();
    assert_eq!(client.hear(), "hello 127.0.0.1");
    const BIG: usize = 3 << 20;
    client.say(&format!("big {BIG}\n"));
    let mut writer = client.0.get_ref().try_clone().expect("a second handle");
    let flood = std::thread::spawn(move || {
        // Far more than all buffers hold: it goes through only while the other side reads.
        for n in 0..200_000 {
            writer.write_all(format!("line number {n} of many\n").as_bytes()).expect("written");
        }
        writer.write_all(b"quit\n").expect("written");
    });
    let mut big = vec![0; BIG];
    client.0.read_exact(&mut big).expect("all of it");
    assert!(big.iter().all(|&b| b == b'x'));
    for n in 0..200_000 {
        assert_eq!(client.hear(), format!("line number {n} of many"));
    }
    assert_eq!((client.hear(), client.hear()), ("bye".to_owned(), String::new()));
    flood.join().expect("no panic");
    server.stop();
}

/// The last word arrives although the client goes on sending; and ends without a word are seen.
pub fn ends<R: Runtime>() {
    let server = Server::<R>::start(2, 100);
    for _ in 0..20 {
        let mut client = server.connect();
        client.say("quit\nmore\nmore\n");
        let heard = [client.hear(), client.hear(), client.hear()];
        assert_eq!(heard, ["hello 127.0.0.1", "bye", ""]);
    }
    let mut client = server.connect();
    assert_eq!(client.hear(), "hello 127.0.0.1");
    client.say("half a li");
    drop(client);
    let mut local = UnixStream::connect(&server.local).expect("somebody listens");
    local.write_all(b"quit\n").expect("written");
    let mut heard = String::new();
    local.read_to_string(&mut heard).expect("an end");
    assert_eq!(heard, "hello local\nbye\n");
    server.stop();
}

/// A proxy's header, cut anywhere, says where a client comes from.
pub fn proxies<R: Runtime>() {
    let server = Server::<R>::start(2, 100);
    let header = "PROXY TCP4 192.0.2.7 10.0.0.1 40000 6667\r\n";
    for cut in [0, 1, 20, header.len() - 1, header.len()] {
        let mut client = Client::new(TcpStream::connect(server.proxied).expect("somebody listens"));
        client.say(&header[..cut]);
        std::thread::yield_now();
        client.say(&format!("{}word\n", &header[cut..]));
        assert_eq!((client.hear(), client.hear()), ("hello 192.0.2.7".to_owned(), "word".to_owned()));
    }
    let mut client = Client::new(TcpStream::connect(server.proxied).expect("somebody listens"));
    client.say("word\n");
    let mut nothing = Vec::new();
    // Closed, orderly or not: either way without a word.
    let _ = client.0.read_to_end(&mut nothing);
    assert!(nothing.is_empty());
    server.stop();
}

/// Accepting pauses while all seats are taken, and goes on when one is free.
pub fn seats<R: Runtime>() {
    let server = Server::<R>::start(2, 3);
    let mut clients: VecDeque<Client> = (0..12).map(|_| server.connect()).collect();
    while let Some(mut client) = clients.pop_front() {
        assert_eq!(client.hear(), "hello 127.0.0.1");
        assert!(server.running.outside().seats.taken() <= 3);
        client.say("quit\n");
        assert_eq!(client.hear(), "bye");
    }
    server.stop();
}

"""alice on Matrix (matrix-nio), bob on IRC (TLS, SASL PLAIN) and carol on XMPP (slixmpp) talk in one room of a running
server, and alice reads all of it back.

Usage: three.py HTTPS_PORT IRC_TLS_PORT XMPP_PORT PASSWORD ROOM   (exit status 0: they did)
"""

import asyncio
import base64
import ssl
import sys

import nio
import slixmpp

HTTPS, IRC, XMPP, PASSWORD, ROOM = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5]
TLS = ssl.create_default_context()
TLS.check_hostname = False
TLS.verify_mode = ssl.CERT_NONE  # the certificate is self-made
LINES = 10


class Carol(slixmpp.ClientXMPP):
    def __init__(self):
        super().__init__("carol@localhost/test", PASSWORD)
        self.ssl_context.check_hostname = False
        self.ssl_context.verify_mode = ssl.CERT_NONE
        self.register_plugin("xep_0045")
        self.heard, self.online = [], asyncio.Event()
        self.add_event_handler("session_start", self.begin)
        self.add_event_handler("groupchat_message", lambda m: m["body"] and self.heard.append(m["body"]))

    async def begin(self, _):
        self.send_presence()
        await self.get_roster()
        self.online.set()


class Bob:
    async def connect(self):
        self.heard = []
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", IRC, ssl=TLS)
        for line in ["CAP REQ :sasl", "NICK bob", "USER bob 0 * :Bob", "AUTHENTICATE PLAIN"]:
            self.say(line)
        await self.until("AUTHENTICATE +")
        self.say("AUTHENTICATE " + base64.b64encode(f"\0bob\0{PASSWORD}".encode()).decode())
        await self.until(" 903 ")
        self.say("CAP END")
        await self.until(" 001 ")

    def say(self, line):
        self.writer.write(line.encode() + b"\r\n")

    async def until(self, word):
        while True:
            line = (await self.reader.readline()).decode().strip()
            if not line:
                sys.exit(f"the server closed before {word}")
            if line.startswith("PING"):
                self.say("PONG" + line[4:])
            if f" PRIVMSG #{ROOM} :" in line:
                self.heard.append(line.split(f" PRIVMSG #{ROOM} :", 1)[1])
            if word in line:
                return line


def good(answer):
    if isinstance(answer, nio.ErrorResponse):
        sys.exit(f"Matrix: {answer}")
    return answer


async def main():
    alice = nio.AsyncClient(f"https://127.0.0.1:{HTTPS}", "@alice:localhost", ssl=False)
    good(await alice.login(PASSWORD))
    made = good(await alice.room_create(alias=ROOM, preset=nio.RoomPreset.public_chat))
    room = made.room_id
    good(await alice.sync(timeout=0, full_state=True))
    bob, carol = Bob(), Carol()
    await bob.connect()
    bob.say(f"JOIN #{ROOM}")
    await bob.until(" 366 ")
    carol.connect("127.0.0.1", XMPP)
    await carol.online.wait()
    await carol.plugin["xep_0045"].join_muc_wait(f"{ROOM}@rooms.localhost", "carol", maxstanzas=0)

    expected = []
    for n in range(LINES):
        content = {"msgtype": "m.text", "body": f"from Matrix {n}"}
        good(await alice.room_send(room, "m.room.message", content))
        expected.append(content["body"])
        bob.say(f"PRIVMSG #{ROOM} :from IRC {n}")
        expected.append(f"from IRC {n}")
        # One after the other, so that the order is known.
        bob.say(f"PING :{n}")
        await bob.until("PONG")
        carol.send_message(f"{ROOM}@rooms.localhost", f"from XMPP {n}", mtype="groupchat")
        expected.append(f"from XMPP {n}")
        while not carol.heard or carol.heard[-1] != expected[-1]:
            await asyncio.sleep(0.01)
    bob.say(f"PRIVMSG #{ROOM} :the end")
    bob.say("PING :end")
    await bob.until("PONG")

    heard = []
    while expected[-1] not in heard:
        synced = good(await alice.sync(timeout=3000, sync_filter={"room": {"timeline": {"limit": 100}}}))
        timeline = synced.rooms.join[room].timeline.events if room in synced.rooms.join else []
        heard += [e.body for e in timeline if isinstance(e, nio.RoomMessageText)]
    history = good(await alice.room_messages(room, start=alice.next_batch, limit=200))
    back = [e.body for e in reversed(history.chunk) if isinstance(e, nio.RoomMessageText)]
    wanted = {
        "alice, live": ([b for b in heard if b != "the end"], expected),
        "alice, back": ([b for b in back if b != "the end"], expected),
        "bob": (bob.heard, [b for b in expected if "IRC" not in b]),
        "carol": ([b for b in carol.heard if b != "the end"], expected),
    }
    for who, (got, want) in wanted.items():
        if got != want:
            sys.exit(f"{who} has {got}, not {want}")
    await alice.close()
    carol.disconnect()
    bob.writer.close()


asyncio.run(asyncio.wait_for(main(), 120))
print("three protocols, one room: everybody has everything in one order")

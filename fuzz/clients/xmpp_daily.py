"""Two slixmpp clients do what people do daily, against a running server.

Usage: xmpp_daily.py PORT PASSWORD   (accounts alice and bob at localhost; exit status 0: all of it worked)
"""

import asyncio
import hashlib
import ssl
import sys
import time
import warnings

import slixmpp
from slixmpp import JID

warnings.simplefilter("ignore", DeprecationWarning)
PORT, PASSWORD = int(sys.argv[1]), sys.argv[2]
RUN = format(time.time_ns(), "x")  # what this run writes is told from what earlier ones wrote
ROOM = "daily@rooms.localhost"
ALICE, BOB = "alice@localhost", "bob@localhost"
PLUGINS = """0030 0045 0050 0054 0059 0060 0077 0084 0092 0115 0163 0184 0191 0198 0199 0202 0280 0308 0313 0352 0359
    0425 0444""".split()
EVENTS = "message message_error message_correction reactions carbon_sent receipt_received".split()


class Client(slixmpp.ClientXMPP):
    def __init__(self, name, resource="daily", password=PASSWORD):
        super().__init__(f"{name}@localhost/{resource}", password)
        self.ssl_context.check_hostname = False
        self.ssl_context.verify_mode = ssl.CERT_NONE  # the certificate is self-made
        for number in PLUGINS:
            self.register_plugin("xep_" + number)
        self.online, self.resumed, self.came = asyncio.Event(), asyncio.Event(), asyncio.Queue()
        self.add_event_handler("session_start", self.begin)
        self.add_event_handler("session_resumed", lambda _: self.resumed.set())
        self.add_event_handler("failed_auth", lambda _: sys.exit("login refused"))
        for event in EVENTS:
            self.add_event_handler(event, lambda stanza, event=event: self.came.put_nowait((event, stanza)))

    async def begin(self, _):
        self.send_presence()
        await self.get_roster()
        self.online.set()

    async def go(self):
        self.connect("127.0.0.1", PORT)
        await asyncio.wait_for(self.online.wait(), 30)
        return self

    async def get(self, event, what, fits=lambda stanza: True):
        """The first that came, or comes soon, of such events."""
        try:
            async with asyncio.timeout(10):
                while True:
                    name, stanza = await self.came.get()
                    if name == event and fits(stanza):
                        return stanza
        except TimeoutError:
            sys.exit(f"{self.boundjid}: no {what}")

    def body(self, text):
        return self.get("message", f"message {text!r}", lambda m: m["body"] == text)


def must(holds, what):
    if not holds:
        sys.exit(f"not so: {what}")


async def until(holds, what):
    for _ in range(100):
        if holds():
            return
        await asyncio.sleep(0.1)
    sys.exit(f"never so: {what}")


async def contacts(a, b):
    a.send_presence_subscription(pto=BOB)
    b.send_presence_subscription(pto=ALICE)
    both = lambda client, other: client.client_roster[other]["subscription"] == "both"
    await until(lambda: both(a, BOB) and both(b, ALICE), "both see each other")


async def chat(a, b):
    second = await Client("alice", "second").go()
    await second["xep_0280"].enable()
    message = a.make_message(BOB, f"hello *{RUN}*", mtype="chat")
    message["request_receipt"] = True
    message.send()
    got = await b.body(f"hello *{RUN}*")
    must(got["stanza_id"]["by"] == BOB, "the message has an id in the archive")
    await a.get("receipt_received", "receipt")
    await second.get("carbon_sent", "copy of what was sent")
    a["xep_0308"].build_correction(message["id"], JID(BOB), mbody=f"corrected {RUN}").send()
    got = await b.get("message_correction", "correction")
    must(got["replace"]["id"] == message["id"], "the correction names the message")
    b["xep_0444"].send_reactions(JID(ALICE), message["id"], ["\N{THUMBS UP SIGN}"])
    await a.get("reactions", "reaction")
    await second.disconnect()


async def profile(a, b):
    vcard = a["xep_0054"].make_vcard()
    vcard["FN"] = f"Alice {RUN}"
    await a["xep_0054"].publish_vcard(vcard)
    image = b"\x89PNG\r\n\x1a\n" + RUN.encode()
    name = hashlib.sha1(image).hexdigest()
    await a["xep_0084"].publish_avatar(image)
    await a["xep_0084"].publish_avatar_metadata([{"id": name, "type": "image/png", "bytes": len(image)}])
    got = await b["xep_0054"].get_vcard(ALICE)
    must(got["vcard_temp"]["FN"] == f"Alice {RUN}", "the vCard is read")
    must(got["vcard_temp"]["PHOTO"]["BINVAL"] == image, "the avatar is in the vCard")


async def blocking(a, b):
    await b["xep_0191"].block(ALICE)
    a.send_message(BOB, f"blocked {RUN}", mtype="chat")
    got = await a.get("message_error", "answer to a message to one who blocks")
    must(got["error"]["condition"] == "service-unavailable", "it is as for nobody")
    await b["xep_0191"].unblock(ALICE)


async def room(a, b):
    for client in (a, b):
        await client["xep_0045"].join_muc_wait(ROOM, client.boundjid.user, timeout=20)
        if client is a:
            form = await a["xep_0045"].get_room_config(ROOM)
            form["type"] = "submit"
            await a["xep_0045"].set_room_config(ROOM, form)
    await until(lambda: set(a["xep_0045"].get_roster(ROOM)) == {"alice", "bob"}, "both are in the room")
    a.send_message(ROOM, f"to all {RUN}", mtype="groupchat")
    got = await b.body(f"to all {RUN}")
    await a["xep_0425"].moderate(JID(ROOM), got["stanza_id"]["id"], "test")
    bodies = [m["mam_result"]["forwarded"]["stanza"]["body"] async for m in b["xep_0313"].iterate(jid=ROOM, reverse=True, total=20)]
    must(f"to all {RUN}" not in bodies, "what was withdrawn is gone from the archive")


async def archive(a):
    pages = a["xep_0313"].iterate(reverse=True, rsm={"max": 3}, total=12)
    bodies = [m["mam_result"]["forwarded"]["stanza"]["body"] async for m in pages]
    must(f"corrected {RUN}" in bodies and f"blocked {RUN}" not in bodies, f"the archive: {bodies}")


async def invitation(a):
    answer = await a["xep_0050"].send_command("localhost", "urn:xmpp:invite#invite")
    must("xmpp:alice@localhost?roster;preauth=" in str(answer), "an invitation is made")


async def password(a):
    for new in ("another-password", PASSWORD):
        await a["xep_0077"].change_password(new)
        other = await Client("alice", "second", new).go()
        await other.disconnect()


async def resumption(a, b):
    b.transport.abort()
    a.send_message(BOB, f"while it was cut {RUN}", mtype="chat")
    b.connect("127.0.0.1", PORT)
    await asyncio.wait_for(b.resumed.wait(), 30)
    await b.body(f"while it was cut {RUN}")


async def main():
    a, b = await asyncio.gather(Client("alice").go(), Client("bob").go())
    for step in (contacts(a, b), chat(a, b), profile(a, b), blocking(a, b), room(a, b), archive(a), invitation(a),
                 password(a), resumption(a, b)):
        await step
    await asyncio.gather(a.disconnect(), b.disconnect())


asyncio.run(asyncio.wait_for(main(), 120))

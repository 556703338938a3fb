"""Two slixmpp clients log in over TLS and talk in private, against a running server.

Usage: xmpp_chat.py PORT PASSWORD   (accounts alice and bob at localhost; exit status 0: they did)
"""

import asyncio
import ssl
import sys

import slixmpp

PORT, PASSWORD = int(sys.argv[1]), sys.argv[2]
LINES = [f"line {n}" for n in range(20)]


class Client(slixmpp.ClientXMPP):
    def __init__(self, name):
        super().__init__(f"{name}@localhost/test", PASSWORD)
        self.ssl_context.check_hostname = False
        self.ssl_context.verify_mode = ssl.CERT_NONE  # the certificate is self-made
        self.got, self.online = [], asyncio.Event()
        self.add_event_handler("session_start", self.begin)
        self.add_event_handler("message", lambda m: m["body"] and self.got.append(m["body"]))
        self.add_event_handler("failed_auth", lambda _: sys.exit("login refused"))

    async def begin(self, _):
        self.send_presence()
        await self.get_roster()
        self.online.set()


async def main():
    alice, bob = Client("alice"), Client("bob")
    for client in (alice, bob):
        client.connect("127.0.0.1", PORT)
    await asyncio.wait_for(asyncio.gather(alice.online.wait(), bob.online.wait()), 30)
    for line in LINES:
        alice.send_message(mto="bob@localhost", mbody=line, mtype="chat")
        bob.send_message(mto="alice@localhost", mbody=line, mtype="chat")
    for _ in range(300):
        if len(alice.got) >= len(LINES) and len(bob.got) >= len(LINES):
            break
        await asyncio.sleep(0.1)
    await asyncio.gather(alice.disconnect(), bob.disconnect())
    if alice.got != LINES or bob.got != LINES:
        sys.exit(f"alice got {alice.got}, bob got {bob.got}")


asyncio.run(main())

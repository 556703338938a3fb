"""alice on IRC (TLS, SASL PLAIN) and bob on XMPP (slixmpp) talk in private, against a running server.

Usage: crossing.py IRC_TLS_PORT XMPP_PORT PASSWORD   (exit status 0: they did)
"""

import asyncio
import base64
import ssl
import sys

import slixmpp

IRC, XMPP, PASSWORD = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
TLS = ssl.create_default_context()
TLS.check_hostname = False
TLS.verify_mode = ssl.CERT_NONE  # the certificate is self-made


class Bob(slixmpp.ClientXMPP):
    def __init__(self):
        super().__init__("bob@localhost/test", PASSWORD)
        self.ssl_context.check_hostname = False
        self.ssl_context.verify_mode = ssl.CERT_NONE
        self.got, self.online = asyncio.Queue(), asyncio.Event()
        self.add_event_handler("session_start", self.begin)
        self.add_event_handler("message", lambda m: m["body"] and self.got.put_nowait(m["body"]))

    async def begin(self, _):
        self.send_presence()
        await self.get_roster()
        self.online.set()


async def main():
    bob = Bob()
    bob.connect("127.0.0.1", XMPP)
    reader, writer = await asyncio.open_connection("127.0.0.1", IRC, ssl=TLS)

    def say(line):
        writer.write(line.encode() + b"\r\n")

    async def until(word):
        while True:
            line = (await reader.readline()).decode().strip()
            if not line:
                sys.exit(f"the server closed before {word}")
            if word in line:
                return line

    plain = base64.b64encode(f"\0alice\0{PASSWORD}".encode()).decode()
    for line in ["CAP REQ :sasl", "NICK alice", "USER alice 0 * :Alice", "AUTHENTICATE PLAIN"]:
        say(line)
    await until("AUTHENTICATE +")
    say(f"AUTHENTICATE {plain}")
    await until(" 903 ")
    say("CAP END")
    await until(" 001 ")
    await bob.online.wait()
    for n in range(20):
        say(f"PRIVMSG bob :over {n}")
        bob.send_message(mto="alice@localhost", mbody=f"back {n}", mtype="chat")
    for n in range(20):
        line = await until("PRIVMSG alice")
        assert line.endswith(f":bob!bob@localhost PRIVMSG alice :back {n}"), line
        body = await bob.got.get()
        assert body == f"over {n}", body
    say("JOIN #ci")
    await until(" 366 ")
    say("QUIT")
    await bob.disconnect()


asyncio.run(asyncio.wait_for(main(), 60))

"""alice on IRC and bob on XMPP, both over WebSockets, talk in private and in a room, against a running server.

Usage: web.py HTTPS_PORT PASSWORD   (exit status 0: they did)
"""

import asyncio
import base64
import ssl
import sys
import urllib.request
import xml.etree.ElementTree as ET

from websockets.asyncio.client import connect

PORT, PASSWORD = int(sys.argv[1]), sys.argv[2]
TLS = ssl.create_default_context()
TLS.check_hostname = False
TLS.verify_mode = ssl.CERT_NONE  # the certificate is self-made
BASE = f"https://localhost:{PORT}"
FRAMING = "urn:ietf:params:xml:ns:xmpp-framing"
MANY = 50


def fetch(path):
    with urllib.request.urlopen(BASE + path, context=TLS) as answer:
        return answer.read().decode()


async def until(socket, *words):
    """The next message that has all these words."""
    while True:
        message = await asyncio.wait_for(socket.recv(), 20)
        if all(word in message for word in words):
            return message


async def irc(socket, name):
    plain = base64.b64encode(f"\0{name}\0{PASSWORD}".encode()).decode()
    for line in ["CAP REQ :sasl", f"NICK {name}", f"USER {name} 0 * :{name}", "AUTHENTICATE PLAIN"]:
        await socket.send(line)
    await until(socket, "AUTHENTICATE +")
    await socket.send(f"AUTHENTICATE {plain}")
    await until(socket, " 903 ")
    await socket.send("CAP END")
    await until(socket, " 001 ")


async def xmpp(socket, name):
    opening = f"<open xmlns='{FRAMING}' to='localhost' version='1.0'/>"
    plain = base64.b64encode(f"\0{name}\0{PASSWORD}".encode()).decode()
    await socket.send(opening)
    await until(socket, "<mechanism>PLAIN")
    await socket.send(f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>")
    await until(socket, "<success")
    await socket.send(opening)
    await until(socket, "xmpp-bind")
    await socket.send(
        "<iq xmlns='jabber:client' type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>"
    )
    await until(socket, "<jid>")
    await socket.send("<presence xmlns='jabber:client'/>")
    await until(socket, "<presence ")


def body(message):
    """Every message is a document of its own, whose root is a stanza."""
    root = ET.fromstring(message)
    assert root.tag == "{jabber:client}message", root.tag
    return root.findtext("{jabber:client}body")


async def main():
    assert "<h1>localhost</h1>" in fetch("/")
    assert fetch("/health") == "ok\n"
    link = ET.fromstring(fetch("/.well-known/host-meta")).find("{*}Link[@rel='urn:xmpp:alt-connections:websocket']")
    place = link.get("href")
    assert place == f"wss://localhost:{PORT}/xmpp-websocket", place
    async with (
        connect(f"wss://localhost:{PORT}/irc", subprotocols=["text.ircv3.net"], ssl=TLS) as alice,
        connect(place, subprotocols=["xmpp"], ssl=TLS) as bob,
    ):
        assert (alice.subprotocol, bob.subprotocol) == ("text.ircv3.net", "xmpp")
        await irc(alice, "alice")
        await xmpp(bob, "bob")
        for n in range(MANY):
            await alice.send(f"PRIVMSG bob :grüße {n}")
        for n in range(MANY):
            got = body(await until(bob, "<body>"))
            assert got == f"grüße {n}", got
        await bob.send("<message xmlns='jabber:client' to='alice@localhost' type='chat'><body>a &lt; b</body></message>")
        assert (await until(alice, "PRIVMSG alice")).endswith(" :a < b")
        await alice.send("JOIN #web")
        await until(alice, " 366 ")
        await bob.send(
            "<presence xmlns='jabber:client' to='web@rooms.localhost/bob'>"
            "<x xmlns='http://jabber.org/protocol/muc'/></presence>"
        )
        await until(alice, "JOIN #web")
        await alice.send("PRIVMSG #web :" + "long " * 60)
        assert body(await until(bob, "<body>long")).startswith("long long")
        await (await alice.ping())
        await bob.send(f"<close xmlns='{FRAMING}'/>")
        assert ET.fromstring(await until(bob, "<close ")).tag == f"{{{FRAMING}}}close"
        await asyncio.wait_for(bob.wait_closed(), 5)
        assert bob.close_code == 1000, bob.close_code
        await alice.send("QUIT :bye")
        await until(alice, "ERROR ")
        await asyncio.wait_for(alice.wait_closed(), 5)
        assert alice.close_code == 1000, alice.close_code


asyncio.run(main())
print("alice (IRC) and bob (XMPP) talked over WebSockets")

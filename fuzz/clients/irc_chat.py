"""alice and bob talk on IRC over TLS, against a running server: channel, private, several lines, history, coming back.

Usage: irc_chat.py IRC_TLS_PORT PASSWORD   (exit status 0: they did)
"""

import asyncio
import base64
import ssl
import sys

PORT, PASSWORD = int(sys.argv[1]), sys.argv[2]
TLS = ssl.create_default_context()
TLS.check_hostname = False
TLS.verify_mode = ssl.CERT_NONE  # the certificate is self-made
CHANNEL = "#irc-chat"


class Client:
    def __init__(self, nick, caps):
        self.nick, self.caps = nick, caps

    async def connect(self):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", PORT, ssl=TLS)
        plain = base64.b64encode(f"\0{self.nick}\0{PASSWORD}".encode()).decode()
        self.say("CAP LS 302", f"CAP REQ :sasl {self.caps}", f"NICK {self.nick}", f"USER {self.nick} 0 * :R")
        await self.until(" ACK ")
        self.say("AUTHENTICATE PLAIN")
        await self.until("AUTHENTICATE +")
        self.say(f"AUTHENTICATE {plain}")
        await self.until(" 903 ")
        self.say("CAP END")
        await self.until(" 001 ")
        return self

    def say(self, *lines):
        for line in lines:
            self.writer.write(line.encode() + b"\r\n")

    async def until(self, *words):
        """The lines up to the first that has all these words."""
        seen = []
        while True:
            line = (await self.reader.readline()).decode().strip()
            if not line:
                sys.exit(f"{self.nick}: the server closed before {words}: {seen}")
            if line.startswith("PING"):
                self.say(line.replace("PING", "PONG", 1))
            seen.append(line)
            if all(word in line for word in words):
                return seen

    async def quit(self):
        self.say("QUIT :bye")
        await self.until("ERROR")
        self.writer.close()


async def main():
    modern = "message-tags batch server-time echo-message labeled-response draft/chathistory draft/multiline"
    alice = await Client("alice", modern).connect()
    bob = await Client("bob", "server-time").connect()
    alice.say(f"JOIN {CHANNEL}")
    await alice.until(" 366 ")
    bob.say(f"JOIN {CHANNEL}")
    await bob.until(" 366 ")
    bob.say(f"PRIVMSG {CHANNEL} :hello")
    await alice.until("PRIVMSG", ":hello")
    alice.say("@label=1 PRIVMSG bob :psst")
    await alice.until("@label=1", "msgid=", ":psst")
    await bob.until("PRIVMSG bob :psst")
    alice.say(f"BATCH +1 draft/multiline {CHANNEL}")
    alice.say(*[f"@batch=1 PRIVMSG {CHANNEL} :line {n}" for n in range(3)], "BATCH -1")
    got = await bob.until(":line 2")
    assert sum("PRIVMSG" in line for line in got) == 3, got
    await bob.quit()
    # What bob misses comes when he comes back, once, and the history has it too.
    alice.say(f"PRIVMSG {CHANNEL} :missed")
    await alice.until("PRIVMSG", ":missed")  # what was acknowledged is in the history
    alice.say(f"CHATHISTORY LATEST {CHANNEL} * 10")
    opening = (await alice.until("BATCH +", "chathistory"))[-1]
    name = opening.split("BATCH +")[1].split()[0]
    got = await alice.until(f"BATCH -{name}")
    assert any(":missed" in line and "batch=" in line for line in got), got
    bob = await Client("bob", "server-time").connect()
    got = await bob.until("PRIVMSG", ":missed")
    assert any(f"JOIN {CHANNEL}" in line for line in got) and not any(":hello" in line for line in got), got
    for client in (alice, bob):
        client.say(f"PART {CHANNEL}")
        await client.until(f"PART {CHANNEL}")
        await client.quit()
    print("IRC: channel, private, several lines, history, coming back")


asyncio.run(asyncio.wait_for(main(), 60))

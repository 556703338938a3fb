"""Kills a server without warning while people talk, again and again; what was acknowledged must be there afterwards.

Usage: kill.py PROGRAM [TIMES]   (no other server may listen on the default ports; exit status 0: nothing was lost)

Four IRC clients speak in one room as fast as they may. A message counts as acknowledged when its echo has come back.
After each restart the history is read to its end and must hold all of them, once each, in the order of the echoes.
"""

import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

PROGRAM, TIMES = os.path.realpath(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 100
NAMES = ["alice", "bob", "carol", "dave"]
CAPS = "echo-message message-tags server-time batch draft/chathistory"
CONFIG = """
data-dir = "{dir}"
[[listen]]
address = "localhost:6667"
protocol = "irc"
tls = "off"
[limits]
flood = false
[log]
level = "error"
"""


class Client:
    def __init__(self, name):
        self.name, self.buffer, self.acked = name, b"", []
        self.socket = socket.create_connection(("127.0.0.1", 6667), 10)
        self.say(f"CAP REQ :{CAPS}", f"PASS {name}:secret", f"NICK {name}", f"USER {name} 0 * :x", "CAP END")
        self.until(" 422 ")
        # A member is in the room by itself after the first time.
        self.say("JOIN #kill", "PING there")
        self.until(" PONG ")

    def say(self, *lines):
        self.socket.sendall("".join(line + "\r\n" for line in lines).encode())

    def lines(self):
        """Whole lines that have come, waiting for some."""
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("closed")
        *lines, self.buffer = (self.buffer + data).split(b"\r\n")
        return [line.decode() for line in lines]

    def until(self, word):
        got = []
        while not any(word in line for line in got):
            got += self.lines()
        return got


def start(config):
    server = subprocess.Popen([PROGRAM, "--config", config], stderr=subprocess.DEVNULL)
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", 6667), 1).close()
            return server
        except OSError:
            time.sleep(0.02)
    sys.exit("the server does not start")


def talk(server, round_, rng):
    """Speaks until the server is killed; the acknowledged messages in their order."""
    clients = [Client(name) for name in NAMES]
    end, count = time.time() + rng.uniform(0.05, 0.4), 0
    for client in clients:
        client.socket.settimeout(0.01)
    try:
        while time.time() < end:
            for client in clients:
                client.say(*(f"PRIVMSG #kill :{round_} {client.name} {count + n}" for n in range(5)))
            count += 5
            for client in clients:
                collect(client)
    finally:
        server.send_signal(signal.SIGKILL)
        server.wait()
    for client in clients:
        # What the system had taken from the server is acknowledged too.
        client.socket.settimeout(1)
        while collect(client):
            pass
    return {client.name: client.acked for client in clients}


def collect(client):
    try:
        lines = client.lines()
    except (TimeoutError, OSError):
        return False
    mine = re.compile(rf":{client.name}!\S+ PRIVMSG #kill :(.*)")
    client.acked += [m.group(1) for line in lines if (m := mine.search(line))]
    return True


def history(seen):
    """All messages of the room after the last one seen; and its id."""
    client, found = Client("alice"), []
    while True:
        point = f"msgid={seen}" if seen else "timestamp=2000-01-01T00:00:00.000Z"
        client.say(f"CHATHISTORY AFTER #kill {point} 100")
        page = [line for line in client.until("BATCH -") if "PRIVMSG #kill :" in line]
        found += [line.split(" :", 2)[-1] for line in page]
        if not page:
            return found, seen
        seen = re.search(r"msgid=([^; ]+)", page[-1]).group(1)


def main():
    rng, seen, acked, stored = random.Random(1), None, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        config = os.path.join(folder, "lavina.toml")
        with open(config, "w") as f:
            f.write(CONFIG.format(dir=os.path.join(folder, "data")))
        server = start(config)
        for name in NAMES:
            subprocess.run([PROGRAM, "--config", config, "user", "add", name], input=b"secret\n", check=True)
        for round_ in range(TIMES):
            sent = talk(server, round_, rng)
            server = start(config)
            found, seen = history(seen)
            if len(found) != len(set(found)):
                sys.exit(f"round {round_}: a message is there twice")
            for name, messages in sent.items():
                mine = [text for text in found if text.split(" ")[1] == name]
                if mine[: len(messages)] != messages:
                    lost = [text for text in messages if text not in mine]
                    sys.exit(f"round {round_}: of {len(messages)} acknowledged of {name} are lost: {lost[:5]}")
                acked += len(messages)
            stored += len(found)
        server.terminate()
        if server.wait(20) != 0:
            sys.exit("the server did not stop in order")
    print(f"{os.path.basename(PROGRAM)}: killed {TIMES} times; {acked} messages acknowledged, {stored} stored, 0 lost")


main()

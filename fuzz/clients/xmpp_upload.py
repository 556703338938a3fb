"""A slixmpp client uploads a file (XEP-0363) and gets it back, against a running server.

Usage: xmpp_upload.py PORT PASSWORD [BYTES]   (account alice at localhost; exit status 0: it did)

The server's `[http] url` must be one that this machine reaches without a certificate of its own, such as
http://127.0.0.1:8008. Needs slixmpp and aiohttp.
"""

import asyncio
import hashlib
import os
import ssl
import sys
import tempfile
from pathlib import Path
from urllib.request import urlopen

import slixmpp
from slixmpp.exceptions import IqError
from slixmpp.plugins.xep_0363 import FileTooBig

PORT, PASSWORD = int(sys.argv[1]), sys.argv[2]
SIZE = int(sys.argv[3]) if len(sys.argv) > 3 else 3_000_000


class Client(slixmpp.ClientXMPP):
    def __init__(self):
        super().__init__("alice@localhost/test", PASSWORD)
        self.ssl_context.check_hostname = False
        self.ssl_context.verify_mode = ssl.CERT_NONE  # the certificate is self-made
        self.online = asyncio.Event()
        self.register_plugin("xep_0363")
        self.add_event_handler("session_start", lambda _: self.online.set())
        self.add_event_handler("failed_auth", lambda _: sys.exit("login refused"))


async def main():
    client = Client()
    client.connect("127.0.0.1", PORT)
    await asyncio.wait_for(client.online.wait(), 30)
    upload = client["xep_0363"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "Žluťoučký kůň?#.bin"
        path.write_bytes(os.urandom(SIZE))
        url = await asyncio.wait_for(upload.upload_file(path, content_type="application/x-test"), 120)
        print(url)
        got = await asyncio.to_thread(lambda: urlopen(url, timeout=120))
        body = await asyncio.to_thread(got.read)
        if hashlib.sha256(body).digest() != hashlib.sha256(path.read_bytes()).digest():
            sys.exit("another file came back")
        if got.headers["Content-Type"] != "application/x-test":
            sys.exit(f"another type came back: {got.headers['Content-Type']}")
    try:
        await upload.upload_file("huge", size=1 << 50, input_file=open(os.devnull, "rb"))
        sys.exit("a petabyte was accepted")
    except (FileTooBig, IqError) as refused:
        print("refused as it should be:", type(refused).__name__)
    await client.disconnect()


asyncio.run(main())

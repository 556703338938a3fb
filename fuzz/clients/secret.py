"""Encryption by matrix-nio: gil and hal talk in an encrypted room; then gil with a client of matrix-js-sdk.

Usage: secret.py HTTPS_PORT PASSWORD ROUND [COMMAND …]   (exit status 0: they did)

The command starts the other client, which says `ready`, answers what it hears, and goes at `bye`; its account is
iva-ROUND.
"""

import asyncio
import subprocess
import sys
import tempfile

import nio

HTTPS, PASSWORD, ROUND, PEER = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:]
MESSAGES = 10
SEAL = {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}


class Failed(Exception):
    """What did not come true."""


def good(answer):
    if isinstance(answer, nio.ErrorResponse):
        raise Failed(answer)
    return answer


class Client:
    """One device, that keeps what it hears and trusts everybody's."""

    async def come(self, name):
        self.store = tempfile.TemporaryDirectory()
        config = nio.AsyncClientConfig(encryption_enabled=True, store_sync_tokens=True)
        self.nio = nio.AsyncClient(
            f"https://localhost:{HTTPS}", f"@{name}:localhost", store_path=self.store.name, config=config, ssl=False
        )
        good(await self.nio.login(PASSWORD, device_name=f"nio {ROUND}"))
        self.heard, self.unread = [], []
        self.nio.add_event_callback(lambda _, e: self.heard.append((e.sender, e.body, e.decrypted)), nio.RoomMessageText)
        self.nio.add_event_callback(lambda room, e: self.unread.append(room.room_id), nio.MegolmEvent)
        await self.step()

    async def step(self, timeout=0):
        good(await self.nio.sync(timeout=timeout))
        if self.nio.should_upload_keys:
            good(await self.nio.keys_upload())
        if self.nio.should_query_keys:
            good(await self.nio.keys_query())
        if self.nio.should_claim_keys:
            good(await self.nio.keys_claim(self.nio.get_users_for_key_claiming()))
        await self.nio.send_to_device_messages()

    async def until(self, what, test):
        for _ in range(100):
            if test():
                return
            await self.step(300)
        raise Failed(f"{self.nio.user_id} waited in vain: {what}; it heard {self.heard[-3:]}")

    async def say(self, room, body):
        content = {"msgtype": "m.text", "body": body}
        good(await self.nio.room_send(room, "m.room.message", content, ignore_unverified_devices=True))

    async def room_with(self, other):
        """An encrypted room with somebody, once both are in it."""
        room = good(await self.nio.room_create(invite=[other], initial_state=[SEAL])).room_id
        there = lambda: room in self.nio.rooms and other in self.nio.rooms[room].users
        joined = lambda: there() and other not in self.nio.rooms[room].invited_users
        return room, joined

    async def go(self):
        await self.nio.logout()
        await self.nio.close()


async def both_read(gil, hal):
    room, joined = await gil.room_with(hal.nio.user_id)
    await hal.until("an invitation", lambda: room in hal.nio.invited_rooms)
    good(await hal.nio.join(room))
    await gil.until("hal", joined)
    await hal.until("the room", lambda: room in hal.nio.rooms and hal.nio.rooms[room].encrypted)
    for n in range(MESSAGES):
        for sender, reader in ((gil, hal), (hal, gil)):
            body = f"{sender.nio.user_id} {n}"
            await sender.say(room, body)
            await reader.until(body, lambda: (sender.nio.user_id, body, True) in reader.heard)
    if room in gil.unread + hal.unread:
        raise Failed("a message was not decrypted")
    raw = good(await gil.nio.room_messages(room, limit=100))
    sealed = [e for e in raw.chunk if e.source["type"] == "m.room.encrypted" or e.decrypted]
    if len(sealed) != 2 * MESSAGES:
        raise Failed(f"{len(sealed)} of {2 * MESSAGES} messages are encrypted")


async def with_another_library(gil):
    peer = subprocess.Popen(PEER, stdout=subprocess.PIPE, text=True)
    if (await asyncio.to_thread(peer.stdout.readline)).strip() != "ready":
        raise Failed("the other client does not come")
    iva = f"@iva-{ROUND}:localhost"
    room, joined = await gil.room_with(iva)
    await gil.until("iva", joined)
    await gil.until("iva's devices", lambda: any(gil.nio.device_store.active_user_devices(iva)))
    for body in [*(f"to you {n}" for n in range(MESSAGES)), "bye"]:
        await gil.say(room, body)
        await gil.until(f"the answer to {body}", lambda: (iva, f"sealed: {body}", True) in gil.heard)
    if await asyncio.to_thread(peer.wait, 30) != 0:
        raise Failed("the other client failed")


async def main():
    gil, hal = Client(), Client()
    try:
        await gil.come("gil")
        await hal.come("hal")
        await both_read(gil, hal)
        if PEER:
            await with_another_library(gil)
    finally:
        await gil.go()
        await hal.go()


try:
    asyncio.run(asyncio.wait_for(main(), 120))
except Failed as why:
    sys.exit(f"secret.py: {why}")
print(f"matrix-nio: encryption between two clients{', and with another library' if PEER else ''}")

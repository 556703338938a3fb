"""Judges the events of rooms by Synapse's own functions: hashes, ids, signatures, authorisation rules.

    LAVINA_EVENTS=DIR cargo test -p lavina-fuzz --test matrix_chain
    pip install matrix-synapse
    python3 matrix_events.py DIR/*.json
"""

import asyncio
import json
import sys

from signedjson.key import decode_verify_key_bytes
from signedjson.sign import verify_signed_json
from synapse import event_auth
from synapse.api.room_versions import KNOWN_ROOM_VERSIONS
from synapse.crypto.event_signing import check_event_content_hash, compute_event_reference_hash
from synapse.events import make_event_from_dict
from synapse.synapse_rust.events import redact_event_dict
from unpaddedbase64 import decode_base64, encode_base64


class Store:
    """Knows all events of the room."""

    def __init__(self, events):
        self.events = events

    async def get_events(self, ids, *_args, **_kwargs):
        return {i: self.events[i] for i in ids if i in self.events}


def judge(path):
    with open(path, encoding="utf-8") as f:
        room = json.load(f)
    version = KNOWN_ROOM_VERSIONS[room["room_version"]]
    key = decode_verify_key_bytes(room["key_id"], decode_base64(room["key"]))
    events, state, whole = {}, {}, 0
    for said in room["events"]:
        pdu = said["pdu"]
        event = make_event_from_dict(pdu, room_version=version)
        algorithm, digest = compute_event_reference_hash(event)
        assert (algorithm, encode_base64(digest, urlsafe=True)) == ("sha256", said["event_id"][1:]), pdu
        assert event.event_id == said["event_id"] and event.room_id == room["room_id"], pdu
        # What was withdrawn has the hash of what it said, and nothing else left.
        if check_event_content_hash(event):
            whole += 1
        else:
            left = redact_event_dict(version, pdu)
            assert {k: v for k, v in left.items() if k != "unsigned"} == pdu, pdu
        verify_signed_json(redact_event_dict(version, pdu), room["server"], key)
        event_auth.validate_event_for_room_version(event)
        asyncio.run(event_auth.check_state_independent_auth_rules(Store(events), event))
        wanted = set(event_auth.auth_types_for_event(version, event))
        named = {(events[i].type, events[i].state_key): i for i in event.auth_event_ids()}
        held = {place: state[place].event_id for place in wanted if place in state}
        assert {p: i for p, i in named.items() if p[0] != "m.room.create"} == {
            p: i for p, i in held.items() if p[0] != "m.room.create"
        }, pdu
        event_auth.check_state_dependent_auth_rules(event, list(state.values()))
        events[event.event_id] = event
        if event.is_state():
            state[(event.type, event.state_key)] = event
    print(f"{path}: version {room['room_version']}, {len(events)} events, {len(events) - whole} withdrawn: fine")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        judge(name)

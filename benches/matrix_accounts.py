#!/usr/bin/env python3
"""Makes the accounts and the room that `load --matrix FILE` needs, on a server that lets anybody register.

    matrix_accounts.py http://127.0.0.1:8008 NUMBER FILE [PREFIX]

The file gets the room's id on its first line, then an access token on each. Everybody is in the room.
"""

import json
import sys
import urllib.error
import urllib.parse
import urllib.request


def call(base, method, path, body, token=None):
    request = urllib.request.Request(base + "/_matrix/client/v3" + path, json.dumps(body).encode(), method=method)
    request.add_header("Content-Type", "application/json")
    if token:
        request.add_header("Authorization", "Bearer " + token)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as e:
        said = e.read().decode(errors="replace")
        if e.code == 401 and "auth" not in body and "session" in said:
            # It tells which steps there are; the one that asks nothing will do.
            auth = {"type": "m.login.dummy", "session": json.loads(said)["session"]}
            return call(base, method, path, {**body, "auth": auth}, token)
        sys.exit(f"{method} {path}: {e.code} {said}")


def main():
    base, number, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    prefix = sys.argv[4] if len(sys.argv) > 4 else "load"
    tokens = []
    for n in range(number):
        account = {"username": f"{prefix}{n}", "password": "load-password"}
        tokens.append(call(base, "POST", "/register", account)["access_token"])
    room = call(base, "POST", "/createRoom", {"preset": "public_chat"}, tokens[0])["room_id"]
    for token in tokens[1:]:
        call(base, "POST", f"/join/{urllib.parse.quote(room)}", {}, token)
    with open(path, "w") as out:
        print("\n".join([room, *tokens]), file=out)


if __name__ == "__main__":
    main()

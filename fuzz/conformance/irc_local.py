"""What an irctest controller must know of Lavina: its configuration file and its contract.

Executed in the controller's own namespace, which has Wanted, patma, OptionalBehaviors and the typing names.
"""


def build_config(w):
    listener = {"address": w.address, "protocol": "irc", "tls": "direct" if w.tls else "off"}
    if w.proxy_protocol:
        listener["proxy"] = True
    if w.casemapping != "ascii":
        raise NotImplementedByController("casemapping " + w.casemapping)
    web = [{"address": w.websocket, "protocol": "http", "tls": "off"}] if w.websocket else []
    doc = {
        "domain": "my.little.server",
        "data-dir": w.data_dir,
        "guests": "free",
        "durability": "process",
        "listen": [listener] + web,
        "log": {"level": "debug"},
        "registration": {"open": not w.register_needs_email, "before-connect": w.register_before_connect},
        "password": {"iterations": 4096},
        "rooms": {"who-may-create": "everybody", "leave-on-quit": w.always_on not in ("opt-out", "mandatory")},
        "irc": {
            "network": "LavinaTest",
            "server-name": "My.Little.Server",
            "server-description": "test server",
            "user-modes": w.default_user_modes.lstrip("+"),
            "oper": [{"name": "operuser", "password": "operpassword"}],
        },
        "limits": {"flood": False, "connections-per-address": 0, "login-tries": 1000},
    }
    if w.connect_password:
        doc["irc"]["password"] = w.connect_password
    if w.tls:
        doc["tls"] = {"certificate": w.tls[0], "key": w.tls[1]}
    return doc


def register_command(binary, config_file, account):
    """The operator's way, with the password on standard input."""
    return [binary, "--config", str(config_file), "user", "add", account]


REHASH_VERB = "REHASH"

// One on IRC and one on XMPP, over TLS, with just enough of each to sit in a room and talk.

import { connect } from "node:tls";
import { until } from "./web.mjs";

const base64 = (text) => Buffer.from(text).toString("base64");

class Wire {
  constructor(port) {
    this.heard = "";
    // The certificate is self-made.
    this.socket = connect({ port, host: "127.0.0.1", rejectUnauthorized: false });
    this.socket.setEncoding("utf8");
    this.socket.on("data", (text) => this.hear(text));
    this.socket.on("error", () => {});
  }
  hear(text) {
    this.heard += text;
  }
  write(text) {
    this.socket.write(text);
  }
  // What was heard up to and with the pattern is done with.
  async next(pattern) {
    const found = await until(`${this.constructor.name} hears ${pattern}`, () => pattern.exec(this.heard));
    this.heard = this.heard.slice(found.index + found[0].length);
    return found;
  }
  end() {
    this.socket.end();
  }
}

export class Irc extends Wire {
  hear(text) {
    super.hear(text);
    for (const [, token] of text.matchAll(/^PING (.*)\r\n/gm)) this.write(`PONG ${token}\r\n`);
  }
  async come(name, password) {
    this.write(`CAP REQ :sasl\r\nNICK ${name}\r\nUSER ${name} 0 * :${name}\r\nAUTHENTICATE PLAIN\r\n`);
    await this.next(/AUTHENTICATE \+/);
    this.write(`AUTHENTICATE ${base64(`\0${name}\0${password}`)}\r\n`);
    await this.next(/ 903 /);
    this.write("CAP END\r\n");
    await this.next(/ 001 /);
    return this;
  }
  async enter(room) {
    this.room = room;
    this.write(`JOIN #${room}\r\n`);
    await this.next(/ 366 /);
  }
  say(text) {
    this.write(`PRIVMSG #${this.room} :${text}\r\n`);
  }
}

export class Xmpp extends Wire {
  async come(name, password) {
    this.name = name;
    const open = "<stream:stream to='localhost' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";
    this.write(open);
    await this.next(/<\/stream:features>/);
    this.write(`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${base64(`\0${name}\0${password}`)}</auth>`);
    await this.next(/<success/);
    this.write(open);
    await this.next(/<\/stream:features>/);
    this.write("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>");
    await this.next(/<jid>/);
    this.write("<presence/>");
    return this;
  }
  async enter(room) {
    this.room = `${room}@rooms.localhost`;
    this.write(`<presence to='${this.room}/${this.name}'><x xmlns='http://jabber.org/protocol/muc'><history maxstanzas='0'/></x></presence>`);
    await this.next(/<subject/);
  }
  say(text) {
    this.write(`<message to='${this.room}' type='groupchat'><body>${text}</body></message>`);
  }
}

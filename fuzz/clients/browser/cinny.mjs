// Cinny in headless browsers: two people make accounts with an invitation, meet in a room, and do in it what people do,
// with one on IRC and one on XMPP; then they talk alone and encrypted, and one comes back later and reads it all.
//
//   cp -r fuzz/clients/browser /tmp/browser && cd /tmp/browser && npm install
//   CINNY=FOLDER node cinny.mjs http://localhost:8008 INVITATION NAME IRC_TLS_PORT XMPP_TLS_PORT [PICTURES]
//
// FOLDER is a built Cinny (its `dist`, of 4.11 or later), which is not part of this project, and the browser is
// /usr/bin/chromium or what CHROMIUM names; so CI does not run it. The accounts are NAME1 to NAME4; the invitation is good
// for four. The server is on localhost, its domain too, without TLS for the browsers and with direct TLS for the others. It
// says each step and ends with 0 if all went well; what the server refused and what broke in the pages is told at the end.

import { browse, until } from "./web.mjs";
import { Irc, Xmpp } from "./neighbours.mjs";

const [BASE, INVITATION, NAME, IRC, XMPP, PICTURES] = process.argv.slice(2);
const PASSWORD = "Cinny-pass-1";
// What Cinny asks for to learn that it is not there, and how registration goes: answers that are no fault.
const EXPECTED = new RegExp([
  "404 GET .*(room_keys/|auth_issuer|auth_metadata|account_data/|directory/room/|summary/)",
  "401 POST .*/(register|keys/device_signing/upload)",
].join("|"));

const web = await browse({
  folder: process.env.CINNY,
  config: {
    defaultHomeserver: 0, homeserverList: [BASE], allowCustomHomeservers: true,
    hashRouter: { enabled: true, basename: "/" },
  },
  base: BASE,
  expected: EXPECTED,
  pictures: PICTURES,
});
const SERVER = encodeURIComponent(BASE);

class Person {
  async register(name) {
    this.name = name;
    this.page = await web.open(name, `#/register/${SERVER}/`);
    await this.field("usernameInput", name);
    await this.field("passwordInput", PASSWORD);
    await this.field("confirmPasswordInput", PASSWORD);
    await this.field("tokenInput", INVITATION);
    await this.button("Register").click();
    await this.arrives();
    return this;
  }
  async login() {
    await this.page.goto(`${new URL(this.page.url()).origin}/#/login/${SERVER}/`);
    await this.field("usernameInput", this.name);
    await this.field("passwordInput", PASSWORD);
    await this.button("Login").click();
    await this.arrives();
  }
  async arrives() {
    await this.page.getByText("Home", { exact: true }).first().waitFor();
  }
  field(name, text) {
    return this.page.locator(`[name=${name}]`).last().fill(text);
  }
  button(name) {
    return this.page.getByRole("button", { name, exact: true }).last();
  }
  text(text) {
    return this.page.getByText(text, { exact: true }).last();
  }
  async go(path) {
    await this.page.evaluate((path) => { location.hash = `#${path}`; }, path);
  }
  box() {
    return this.page.locator("[data-editable-name=RoomInput]");
  }
  async say(text) {
    await this.box().click();
    await this.page.keyboard.type(text);
    await this.page.keyboard.press("Enter");
  }
  message(text) {
    return this.page.locator("[data-message-id]").filter({ hasText: text }).last();
  }
  async sees(text) {
    await until(`${this.name} sees ${text}`, async () => (await this.message(text).count()) || this.latest());
  }
  // Back to the end, for who has looked up.
  async latest() {
    const jump = this.page.getByText("Jump to Latest");
    if (await jump.count()) await jump.click({ timeout: 1_000 }).catch(() => {});
  }
  async misses(text) {
    await until(`${this.name} sees ${text} no more`, async () => !(await this.message(text).count()));
  }
  // An entry of the menu of a message.
  async act(text, entry) {
    await this.message(text).click({ button: "right", position: { x: 300, y: 8 } });
    await this.text(entry).click();
  }
  // What the server says to this person.
  async ask(path) {
    const token = await this.page.evaluate(() => localStorage.getItem("cinny_access_token"));
    const answer = await fetch(`${BASE}/_matrix/client/v3/${path}`, { headers: { authorization: `Bearer ${token}` } });
    return answer.json();
  }
  // A page of one's own settings: one's own face is below all other buttons at the side.
  async settings(page) {
    const face = new RegExp(`^${this.name[0]}$`, "i");
    await this.page.locator("button").filter({ hasText: face }).first().click();
    if (page) await this.text(page).click();
  }
  // An entry of the menu of the room, which is the last button of its header.
  async roomMenu(entry) {
    await this.page.locator("header").filter({ hasText: this.room }).getByRole("button").last().click();
    await this.text(entry).click();
  }
}

function step(what) {
  console.log(what);
}

// An account for those who use no browser.
async function create(username) {
  const auth = { type: "m.login.registration_token", token: INVITATION };
  const body = JSON.stringify({ username, password: PASSWORD, auth, inhibit_login: true });
  const answer = await fetch(`${BASE}/_matrix/client/v3/register`, { method: "POST", body });
  if (!answer.ok) throw new Error(await answer.text());
}

async function make(person, { name, access, address, topic }) {
  await person.go("/home/create/");
  await person.text(access).click();
  await person.field("nameInput", name);
  if (topic) await person.field("topicTextAria", topic);
  if (address) await person.field("aliasInput", address);
  await person.button("Create").click();
  await person.box().waitFor();
  person.room = name;
}

async function file(person, click, name, bytes) {
  const [chooser] = await Promise.all([person.page.waitForEvent("filechooser"), click()]);
  await chooser.setFiles({ name, mimeType: "image/png", buffer: bytes });
}

// Whether an image inside is there with all its bytes.
async function shown(person, what, place) {
  const whole = (images) => images.some((i) => i.complete && i.naturalWidth > 0 && i.getClientRects().length);
  await until(`${person.name} sees ${what}`, () => place.locator("img").evaluateAll(whole));
}

async function words(ann, ben) {
  await ann.say("hello");
  await ben.sees("hello");
  await ben.box().click();
  await ben.page.keyboard.type("good");
  await ann.page.getByText("is typing").waitFor();
  await ben.page.keyboard.type(" **day** and `code` \u{1F44B}");
  await ben.page.keyboard.press("Enter");
  await ann.sees("good day and code \u{1F44B}");
  const bold = ann.message("good day").locator("strong", { hasText: "day" });
  await until("markdown", () => bold.count());
  await ann.page.getByText(`${ben.name} is following the conversation.`).waitFor();
  step("words, markdown, emoji, typing, receipts");

  await ann.say("teh word");
  await ben.sees("teh word");
  await ann.act("teh word", "Edit Message");
  const editor = ann.page.locator("[data-message-id] [data-slate-editor]");
  await editor.click();
  await editor.press("Control+A");
  await ann.page.keyboard.type("the word");
  await ann.page.keyboard.press("Enter");
  await ben.sees("the word");
  await until("edited", () => ben.message("the word").getByText("(edited)").count());
  await ben.act("the word", "Reply");
  await ben.say("an answer");
  await until("a quotation", async () => /the word/.test(await ann.message("an answer").innerText()));
  await ben.act("hello", "Add Reaction");
  await ben.page.getByPlaceholder("Search").last().fill("thumbs");
  await ben.page.locator("button[aria-label^='thumbs up']").first().click();
  await until("a reaction", () => ann.message("hello").locator("[data-reaction-key]").count());
  await ann.message("hello").locator("[data-reaction-key]").first().click();
  await until("a second reaction", async () => /2/.test(await ben.message("hello").locator("[data-reaction-key]").first().innerText()));
  await ann.say("a slip");
  await ben.sees("a slip");
  await ann.act("a slip", "Delete");
  await ann.button("Delete").click();
  await ben.misses("a slip");
  step("edit, reply, reaction, deletion");

  await ben.act("hello", "Reply in Thread");
  await ben.say("in the thread");
  await ann.sees("in the thread");
  await until("a thread", () => ann.message("in the thread").getByText("Thread").count());
  step("thread");

  // The first button of the composer.
  const plus = ann.box().locator("xpath=ancestor::*[.//button][1]").getByRole("button").first();
  await file(ann, () => plus.click(), "sight.png", await ann.page.screenshot());
  await ann.page.getByText("Send", { exact: true }).click();
  await ben.latest();
  await shown(ben, "the image", ben.page.locator("[data-message-id]:has(img[alt='sight.png'])"));
  step("image and thumbnail");
}

async function neighbours(ann, ben, address) {
  const ira = await new Irc(IRC).come(`${NAME}3`, PASSWORD);
  const xena = await new Xmpp(XMPP).come(`${NAME}4`, PASSWORD);
  await ira.enter(address);
  await xena.enter(address);
  ira.say("from IRC");
  xena.say("from XMPP");
  for (const person of [ann, ben]) {
    await person.sees("from IRC");
    await person.sees("from XMPP");
  }
  await ann.say("to **all**");
  await ira.next(/PRIVMSG #\S+ :to .*all/);
  await xena.next(/<body>to .*all.*<\/body>/);
  await ben.act("from IRC", "Reply");
  await ben.say("an answer to IRC");
  await ira.next(/an answer to IRC/);
  await xena.next(/an answer to IRC/);
  await ann.page.locator(`[data-user-id="@${NAME}3:localhost"]`).first().waitFor();
  step("one on IRC and one on XMPP");
  return [ira, xena];
}

// What the card of a member offers.
async function card(person, who) {
  await person.page.locator(`button[data-user-id="@${who}:localhost"]`).last().click();
}

async function powers(ann, ben, ira) {
  await card(ann, ben.name);
  await ann.text("Member").click();
  await ann.text("Moderator").click();
  await ira.next(new RegExp(`MODE #\\S+ \\+o ${ben.name}`));
  await ann.page.keyboard.press("Escape");
  step("power levels");
  await card(ben, `${NAME}3`);
  await ben.page.getByPlaceholder("Reason").fill("too loud");
  await ben.button("Kick").click();
  await ira.next(new RegExp(`KICK #\\S+ ${NAME}3 :too loud`));
  await ben.page.keyboard.press("Escape");
  await ira.enter(ira.room);
  ira.say("back again");
  await ann.sees("back again");
  await card(ann, `${NAME}3`);
  await ann.button("Ban").click();
  await ira.next(new RegExp(`KICK #\\S+ ${NAME}3`));
  await ann.page.keyboard.press("Escape");
  ira.write(`JOIN #${ira.room}\r\n`);
  await ira.next(/ 474 /);
  step("kick and ban");
}

async function settings(ann, ben, address) {
  await ann.roomMenu("Room Settings");
  await ann.button("Edit").click();
  await ann.field("nameInput", "Fair");
  await ann.field("topicTextArea", "all there was");
  await file(ann, () => ann.button("Upload").click(), "face.png", await ann.page.screenshot());
  await until("the avatar is there", async () => !(await ann.page.getByText("Uploading").count()));
  await ann.button("Save").click();
  await until("a new name", () => ben.page.locator("header").filter({ hasText: "Fair" }).count());
  ann.room = ben.room = "Fair";
  await until("a new topic", () => ben.page.locator("header").filter({ hasText: "all there was" }).count());
  await shown(ben, "the avatar", ben.page.locator("header").filter({ hasText: "Fair" }));
  const publish = ann.page.getByText("Publish to Directory").locator("xpath=ancestor::*[.//button][1]//button");
  await publish.last().click();
  await ann.page.keyboard.press("Escape");
  step("name, topic, avatar");
  await ben.go("/explore/localhost/");
  await ben.page.locator("[name=searchInput]").fill("fair");
  await ben.page.keyboard.press("Enter");
  await ben.page.getByText("all there was").first().waitFor();
  await ben.page.getByText("3 Members").first().waitFor();
  step("the directory");
  await ben.go("/home/search/?term=code");
  await ben.page.getByText("good day and code").first().waitFor();
  await ben.go(`/home/${encodeURIComponent(`#${address}:localhost`)}/`);
  step("search");
}

// A key with which a later device reads what was said encrypted.
async function trust(person) {
  await person.settings("Devices");
  await person.button("Enable").click();
  await person.button("Continue").click();
  await person.button("Show").click();
  const key = await person.page.getByText(/^\w{4}( \w{4}){8,}$/).last().innerText();
  await person.page.reload();
  await person.arrives();
  step("cross-signing, secret storage, key backup");
  return key;
}

async function secrets(ann, ben) {
  await ann.go("/direct/create/");
  await ann.field("userIdInput", `@${ben.name}:localhost`);
  await ann.button("Create").click();
  await ann.text(ben.name).waitFor();
  await ann.say("for your eyes");
  await ben.go("/inbox/invites/");
  await ben.button("Accept").click();
  // Cinny goes to the room before it knows that it is a chat of two.
  await ben.page.getByText(/^View$|^for your eyes$/).last().waitFor();
  await ben.go("/direct/");
  await ben.page.locator("a").filter({ hasText: ann.name }).last().click();
  await ben.sees("for your eyes");
  await ben.say("read");
  await ann.sees("read");
  const room = await ann.page.evaluate(() => decodeURIComponent(location.hash.split("/")[2]));
  const { chunk } = await ann.ask(`rooms/${encodeURIComponent(room)}/messages?dir=b&limit=10`);
  const kinds = chunk.map((event) => event.type);
  const sealed = kinds.filter((kind) => kind === "m.room.encrypted").length;
  if (sealed !== 2 || kinds.includes("m.room.message")) throw new Error(`the server reads ${kinds}`);
  step("alone and encrypted");
}

async function privately(ann, ben) {
  await make(ann, { name: "Back room", access: "Private" });
  await ann.say("nobody hears");
  await ann.roomMenu("Invite");
  await ann.field("userIdInput", `@${ben.name}:localhost`);
  await ann.page.keyboard.press("Enter");
  await ann.sees(`invited ${ben.name}`);
  await ann.page.keyboard.press("Escape");
  await ann.page.keyboard.press("Escape");
  await ben.go("/inbox/invites/");
  await ben.button("Accept").click();
  await ben.box().waitFor();
  await ann.sees(`${ben.name} joined`);
  await ann.say("you hear");
  await ben.sees("you hear");
  ben.room = "Back room";
  await ben.roomMenu("Leave Room");
  await ben.button("Leave").click();
  await until("it is left", async () => !(await ben.page.locator("nav a, a").filter({ hasText: "Back room" }).count()));
  await ann.sees(`${ben.name} left`);
  step("a private room, an invitation, leaving");
}

async function returns(ann, address, xena, key) {
  for (let n = 0; n < 90; n++) xena.say(`line ${n}`);
  await xena.next(/line 89/);
  // Clients take their time.
  await until("the keys of both are in the backup", async () => (await ann.ask("room_keys/version")).count > 1);
  await ann.settings();
  await ann.button("Logout").click();
  await ann.button("Logout").click();
  await ann.page.locator("[name=usernameInput]").waitFor();
  await ann.login();
  await ann.go(`/home/${encodeURIComponent(`#${address}:localhost`)}/`);
  await ann.sees("line 89");
  await until("what was said first, with its reactions", async () => {
    await ann.page.mouse.move(640, 400);
    // Cinny asks for more when the top comes into sight.
    await ann.page.mouse.wheel(0, 600);
    await ann.page.mouse.wheel(0, -3000);
    return ann.page.locator("[data-message-id] [data-reaction-key]").count();
  });
  step("gone and back, and the history paged back");
  await ann.settings("Devices");
  await ann.button("Verify Manually").click();
  await ann.field("recoveryKeyInput", key);
  await ann.page.keyboard.press("Enter");
  // The backup: the word about the device itself is soon gone.
  await ann.text("Connected").waitFor();
  await ann.page.reload();
  await ann.arrives();
  await ann.go("/direct/");
  await ann.page.locator("a").filter({ hasText: `${NAME}2` }).last().click();
  await ann.sees("for your eyes");
  await ann.sees("read");
  step("the new device is trusted and reads what was encrypted");
}

await web.run(async () => {
  const ann = await new Person().register(`${NAME}1`);
  const ben = await new Person().register(`${NAME}2`);
  step("accounts with an invitation");
  const address = `market-${NAME}`;
  await make(ann, { name: "Market", access: "Public", address, topic: "all there is" });
  await ben.go("/explore/");
  await web.picture(ben.page, "explore");
  await ben.go(`/home/${encodeURIComponent(`#${address}:localhost`)}/`);
  await ben.button("Join").click();
  await ben.box().waitFor();
  ben.room = "Market";
  step("a public room, joined by its address");
  await words(ann, ben);
  await create(`${NAME}3`);
  await create(`${NAME}4`);
  const [ira, xena] = await neighbours(ann, ben, address);
  await powers(ann, ben, ira);
  await settings(ann, ben, address);
  const key = await trust(ann);
  await secrets(ann, ben);
  await privately(ann, ben);
  await returns(ann, address, xena, key);
  ira.end();
  xena.end();
});
step("ok");

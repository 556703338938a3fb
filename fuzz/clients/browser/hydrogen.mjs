// Hydrogen in headless browsers: two people with accounts log in, meet in a room by its address and talk, then in a private
// room, encrypted.
//
//   cp -r fuzz/clients/browser /tmp/browser && cd /tmp/browser && npm install
//   HYDROGEN=FOLDER node hydrogen.mjs http://localhost:8008 INVITATION NAME [PICTURES]
//
// FOLDER is a built Hydrogen (its `target`), which is not part of this project; all else is as with cinny.mjs.

import { browse, until } from "./web.mjs";

const [BASE, INVITATION, NAME, PICTURES] = process.argv.slice(2);
const PASSWORD = "Hydrogen-pass-1";
// What Hydrogen asks for to learn that it is not there: answers that are no fault.
const EXPECTED = /^404 GET .*(room_keys\/version|dehydrated_device|auth_issuer|auth_metadata|directory\/room)/;

const web = await browse({
  folder: process.env.HYDROGEN,
  config: {
    defaultHomeServer: BASE, themeManifests: ["assets/theme-element.json"],
    defaultTheme: { light: "element-light", dark: "element-dark" },
  },
  base: BASE,
  expected: EXPECTED,
  pictures: PICTURES,
});

class Person {
  async come(username) {
    this.name = username;
    const auth = { type: "m.login.registration_token", token: INVITATION };
    const body = JSON.stringify({ username, password: PASSWORD, auth, inhibit_login: true });
    const answer = await fetch(`${BASE}/_matrix/client/v3/register`, { method: "POST", body });
    if (!answer.ok) throw new Error(await answer.text());
    this.page = await web.open(username, "");
    await this.page.locator("#username").fill(username);
    await this.page.locator("#password").fill(PASSWORD);
    await this.page.getByRole("button", { name: "Log In" }).click();
    await this.page.locator(".LeftPanel").waitFor();
    return this;
  }
  async say(text) {
    const box = this.page.locator(".MessageComposer textarea");
    await box.fill(text);
    await box.press("Enter");
  }
  async sees(text) {
    const shown = () => this.page.locator(".Timeline").allInnerTexts();
    await until(`${this.name} sees ${text}`, async () => (await shown()).some((all) => all.includes(text)));
  }
  // Without an alias it is private, and so encrypted.
  async make({ name, alias }) {
    await this.page.locator(".LeftPanel .create").click();
    await this.page.getByText("Create Room", { exact: true }).click();
    await this.page.locator("input[name=name]").fill(name);
    if (alias) {
      await this.page.locator("#isPublic").check();
      await this.page.locator("input[name=roomAlias]").fill(alias);
    }
    await this.page.getByRole("button", { name: "Create room" }).last().click();
    await this.enter(name);
  }
  async enter(name) {
    await this.page.locator(".LeftPanel li a").filter({ hasText: name }).first().click();
    const accept = this.page.getByRole("button", { name: "Accept" });
    const box = this.page.locator(".MessageComposer textarea");
    await accept.or(box).first().waitFor();
    if (await accept.count()) await accept.click();
    await box.waitFor();
  }
}

await web.run(async () => {
  const ann = await new Person().come(`${NAME}1`);
  const ben = await new Person().come(`${NAME}2`);
  await ann.make({ name: "Market", alias: `market-${NAME}` });
  await ann.say("hello");
  await ann.sees("hello");
  await ben.page.locator(".LeftPanel .create").click();
  await ben.page.getByText("Join Room", { exact: true }).click();
  await ben.page.locator("input[name=id]").fill(`#market-${NAME}:localhost`);
  await ben.page.getByRole("button", { name: "Join", exact: true }).click();
  await ben.enter("Market");
  await ben.sees("hello");
  await ben.say("good day");
  await ann.sees("good day");

  await ann.make({ name: "Back room" });
  await ann.page.locator("textarea[placeholder^='Send an encrypted message']").waitFor();
  await ann.say(`/invite @${NAME}2:localhost`);
  await ben.enter("Back room");
  await ann.sees("joined");
  await ann.say("for your eyes");
  await ben.sees("for your eyes");
  await ben.say("read");
  await ann.sees("read");
  await web.picture(ann.page, "hydrogen");
  // It takes the page on which rooms are made for a room for a moment.
}, (why) => why.includes("getKey(true)"));
console.log("ok");

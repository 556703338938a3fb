// Element Web in a headless browser: two people make accounts with an invitation, meet in a room by its address and talk,
// then alone and encrypted.
//
//   cp -r fuzz/clients/browser /tmp/browser && cd /tmp/browser && npm install
//   ELEMENT=FOLDER node element.mjs http://127.0.0.1:8008 INVITATION NAME [PICTURES]
//
// FOLDER is a built Element Web (its `webapp`), which is not part of this project, and the browser is /usr/bin/chromium or
// what CHROMIUM names; so CI does not run it. The accounts are NAME1 and NAME2. The server is on localhost, without TLS;
// clients from before August 2025 want its [rooms] matrix-version to be "11". It says `ok` and ends with 0 if all went well;
// what the server refused is told at the end.

import { browse, until } from "./web.mjs";

const [BASE, INVITATION, NAME, PICTURES] = process.argv.slice(2);
const PASSWORD = "Element-pass-1";
// What Element asks for to learn that it is not there: answers that are no fault.
const EXPECTED = /auth_issuer|auth_metadata|room_keys\/version|dehydrated_device|directory\/room|v3\/register|thirdparty\/user|initialSync/;

const web = await browse({
  folder: process.env.ELEMENT,
  config: { default_server_config: { "m.homeserver": { base_url: BASE, server_name: "localhost" } } },
  base: BASE,
  expected: EXPECTED,
  pictures: PICTURES,
});

class Person {
  async register(name) {
    this.name = name;
    this.page = await web.open(name, "#/register");
    await this.page.getByRole("textbox", { name: "Username", exact: true }).fill(name);
    await this.page.getByPlaceholder("Password", { exact: true }).fill(PASSWORD);
    await this.page.getByPlaceholder("Confirm password", { exact: true }).fill(PASSWORD);
    await this.button("Register").click();
    await this.page.locator("input[name=registrationTokenField]").fill(INVITATION);
    await this.button("Continue").click();
    // The keys are made meanwhile.
    await this.button("Skip").click();
    const tip = this.button("OK");
    if (await tip.waitFor({ timeout: 3_000 }).then(() => true, () => false)) await tip.click();
    return this;
  }
  button(name) {
    return this.page.getByRole("button", { name, exact: true }).first();
  }
  room(name) {
    return this.page.getByRole("treeitem", { name }).first();
  }
  async say(text) {
    const box = this.page.locator(".mx_RoomView_body .mx_MessageComposer [contenteditable]").first();
    await box.fill(text);
    await box.press("Enter");
  }
  async sees(text) {
    const shown = () => this.page.locator(".mx_RoomView_MessageList").allInnerTexts();
    await until(`${this.name} sees ${text}`, async () => (await shown()).some((all) => all.includes(text)));
  }
  async act(text, action) {
    const tile = this.page.locator(".mx_RoomView_body .mx_EventTile[data-scroll-tokens]").filter({ hasText: text }).last();
    await tile.locator(".mx_EventTile_line").first().hover();
    await tile.getByRole("toolbar", { name: "Message Actions" }).getByRole("button", { name: action }).first().click();
  }
}

try {
  const ann = await new Person().register(`${NAME}1`);
  const ben = await new Person().register(`${NAME}2`);

  // A room that one makes and the other finds by its address.
  await ann.button("Add room").click();
  await ann.page.getByRole("menuitem", { name: "New room", exact: true }).click();
  const dialog = ann.page.locator(".mx_CreateRoomDialog");
  await dialog.getByRole("textbox", { name: "Name" }).fill("Market");
  await dialog.getByRole("button", { name: "Room visibility" }).click();
  await dialog.getByRole("option", { name: "Public room" }).click();
  await dialog.getByRole("textbox", { name: "Room address" }).fill(`market-${NAME}`);
  await dialog.getByRole("button", { name: "Create room" }).click();
  await ann.say("hello");
  await ann.sees("hello");
  await ben.page.evaluate((name) => { location.hash = `#/room/#market-${name}:localhost`; }, NAME);
  await ben.page.getByRole("button", { name: /^Join( the discussion)?$/ }).first().click();
  await ben.sees("hello");

  // What one says, corrects, answers and withdraws, the other sees.
  await ben.say("good day");
  await ann.sees("good day");
  await ann.say("teh word");
  await ben.sees("teh word");
  await ann.act("teh word", "Edit");
  const box = ann.page.locator(".mx_EditMessageComposer [contenteditable]");
  await box.fill("the word");
  await box.press("Enter");
  await ben.sees("(edited)");
  await ben.act("the word", "Reply");
  await ben.say("an answer");
  await until("a quotation", () => ann.page.locator(".mx_ReplyChain").count());
  await ben.act("hello", "React");
  await ben.page.locator(".mx_EmojiPicker").getByRole("textbox").fill("thumbs up");
  await ben.page.getByRole("gridcell", { name: "👍" }).first().click();
  await until("a reaction", () => ann.page.locator(".mx_ReactionsRowButton").count());
  await ann.act("the word", "Options");
  await ann.page.getByRole("menuitem", { name: "Remove" }).click();
  await ann.page.locator(".mx_Dialog").getByRole("button", { name: "Remove" }).click();
  await ben.sees("Message deleted");
  await web.picture(ann.page, "room");

  // Alone, encrypted, listed under people for both.
  await ann.button("Start chat").click();
  await ann.page.locator(".mx_InviteDialog_editor input, .mx_InviteDialog_addressBar input").first().fill(`${NAME}2`);
  await ann.page.locator(".mx_InviteDialog_tile").filter({ hasText: `@${NAME}2:localhost` }).first().click();
  await ann.button("Go").click();
  // Until it is shown, words would go into the room before.
  await ann.page.getByText("Send your first message").waitFor();
  await ann.say("for your eyes");
  await ben.room(new RegExp(`^${NAME}1`)).click();
  await ben.button("Start chatting").click();
  await ben.sees("for your eyes");
  await ben.say("read");
  await ann.sees("read");
  const people = () => ben.page.evaluate(() => window.mxMatrixClientPeg.get().getAccountData("m.direct")?.getContent());
  await until("a talk between two is known as such", async () => (await people())?.[`@${NAME}1:localhost`]);
  const verified = await ann.page.evaluate(() => window.mxMatrixClientPeg.get().getCrypto().isCrossSigningReady());
  if (!verified) throw new Error("cross-signing was not set up with the account");
  await web.picture(ben.page, "dialog");

  if (web.refused.length) throw new Error(`the server refused: ${web.refused.join("; ")}`);
  console.log("ok");
} finally {
  await web.close();
}

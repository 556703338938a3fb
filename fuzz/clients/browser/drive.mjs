// Hydrogen, a web client of Matrix, in a headless browser: it logs in, shows what others say, and says something itself.
//
//   cp -r fuzz/clients/browser /tmp/browser && cd /tmp/browser && npm install && npm run build
//   node drive.mjs http://127.0.0.1:8008 NAME PASSWORD [PICTURE.png]
//
// It wants a browser, /usr/bin/chromium or what CHROMIUM names, so CI does not run it. The two people are NAME, an account
// with that password, and the script itself as NAME2 with the same; the page comes from another origin than the server, as
// it does for those who use such a client. It says `ok` and ends with 0 if each saw what the other said.

import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join } from "node:path";
import puppeteer from "puppeteer-core";

const [BASE, NAME, PASSWORD, PICTURE] = process.argv.slice(2);
const KINDS = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".wasm": "application/wasm", ".svg": "image/svg+xml" };

// A request of the other person.
let token;
async function ask(method, path, body) {
  const headers = { "content-type": "application/json", ...(token && { authorization: `Bearer ${token}` }) };
  const answer = await fetch(`${BASE}/_matrix/client/v3/${path}`, { method, headers, body: body && JSON.stringify(body) });
  const json = await answer.json();
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(json)}`);
  return json;
}

async function until(what, test) {
  for (const end = Date.now() + 30_000; Date.now() < end; await new Promise((go) => setTimeout(go, 100))) {
    const found = await test();
    if (found) return found;
  }
  throw new Error(`in vain: ${what}`);
}

// The pages that were built.
const pages = createServer(async (request, response) => {
  const path = new URL(request.url, "http://x").pathname;
  const file = join("dist", path === "/" ? "index.html" : path);
  const found = await readFile(file).catch(() => null);
  response.writeHead(found ? 200 : 404, { "content-type": KINDS[extname(file)] ?? "application/octet-stream" }).end(found);
});
await new Promise((go) => pages.listen(0, "127.0.0.1", go));

const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu"],
});
try {
  const user = `${NAME}2`;
  const login = { type: "m.login.password", identifier: { type: "m.id.user", user }, password: PASSWORD };
  token = (await ask("POST", "login", login)).access_token;
  const domain = (await ask("GET", "account/whoami")).user_id.split(":")[1];
  const invite = [`@${NAME}:${domain}`];
  const { room_id: room } = await ask("POST", "createRoom", { preset: "public_chat", name: "Browsers", invite });
  const say = (body) => ask("PUT", `rooms/${room}/send/m.room.message/${Math.random()}`, { msgtype: "m.text", body });
  await say("before anybody looks");

  // The account joins as its other device would.
  const mine = token;
  token = undefined;
  token = (await ask("POST", "login", { ...login, identifier: { type: "m.id.user", user: NAME } })).access_token;
  await ask("POST", `rooms/${room}/join`, {});
  token = mine;

  const page = await browser.newPage();
  const wrong = [];
  page.on("pageerror", (error) => wrong.push(String(error)));
  await page.goto(`http://127.0.0.1:${pages.address().port}/#${encodeURIComponent([BASE, NAME, PASSWORD, room].join(" "))}`);
  const state = await until("the client is there", async () => {
    const state = await page.evaluate(() => window.lavina?.state);
    return state !== "starting" && state;
  });
  if (!state?.startsWith("in ")) throw new Error(state);
  const shows = (text) => page.evaluate((text) => document.querySelector("#app").innerText.includes(text), text);
  await until("what was said before is shown", () => shows("before anybody looks"));
  await say("while somebody looks");
  await until("what is said is shown", () => shows("while somebody looks"));
  await page.evaluate(() => window.lavina.say("from a browser"));
  const heard = async () => (await ask("GET", `rooms/${room}/messages?dir=b&limit=5`)).chunk;
  const event = await until("what the browser says arrives", async () =>
    (await heard()).find((event) => event.content.body === "from a browser"));
  if (event.sender !== invite[0]) throw new Error(`${event.sender} said it`);
  await until("it shows its own words", () => shows("from a browser"));
  await ask("PUT", `rooms/${room}/send/m.reaction/${Math.random()}`, {
    "m.relates_to": { rel_type: "m.annotation", event_id: event.event_id, key: "👍" },
  });
  await until("a reaction is shown", () => shows("👍"));
  const first = (await heard()).find((event) => event.content.body === "while somebody looks");
  await ask("PUT", `rooms/${room}/redact/${first.event_id}/${Math.random()}`, {});
  await until("what is withdrawn goes", async () => !(await shows("while somebody looks")));
  if (PICTURE) await page.screenshot({ path: PICTURE });
  if (wrong.length) throw new Error(`errors in the page: ${wrong.join("; ")}`);
  console.log("ok");
} finally {
  await browser.close();
  pages.close();
}

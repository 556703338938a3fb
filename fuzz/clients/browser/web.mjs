// What the scripts about web clients share: the pages of a built client, a browser, and what the server refused.

import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join } from "node:path";
import { chromium } from "playwright-core";

const KINDS = {
  ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".json": "application/json",
  ".wasm": "application/wasm", ".svg": "image/svg+xml", ".png": "image/png", ".woff2": "font/woff2",
};

export async function until(what, test) {
  for (const end = Date.now() + 30_000; Date.now() < end; await new Promise((go) => setTimeout(go, 100))) {
    const found = await test();
    if (found) return found;
  }
  throw new Error(`in vain: ${what}`);
}

// A browser for the client in `folder`, which finds `config` as its config.json. `refused` fills with what the server at
// `base` refuses and `expected` does not fit.
export async function browse({ folder, config, base, expected, pictures }) {
  const pages = createServer(async (request, response) => {
    const path = new URL(request.url, "http://x").pathname;
    const file = join(folder, path.endsWith("/") ? `${path}index.html` : path);
    const found = path === "/config.json" ? JSON.stringify(config) : await readFile(file).catch(() => null);
    response.writeHead(found ? 200 : 404, { "content-type": KINDS[extname(file)] ?? "application/octet-stream" }).end(found);
  });
  await new Promise((go) => pages.listen(0, "localhost", go));
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
  });
  const refused = [], wrong = [], all = [], asked = new Set();
  const web = {
    refused,
    // A page of somebody who shares nothing with the others.
    async open(name, hash) {
      const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, locale: "en-GB" });
      context.setDefaultTimeout(30_000);
      const page = await context.newPage();
      page.on("request", (r) => r.url().startsWith(base) && !r.url().includes("/sync") && asked.add(r));
      for (const end of ["requestfinished", "requestfailed"]) page.on(end, (r) => asked.delete(r));
      page.on("response", async (r) => {
        const [url, method] = [r.url(), r.request().method()];
        if (url.startsWith(base) && r.status() >= 400 && !expected.test(`${r.status()} ${method} ${url}`)) {
          const said = await r.text().catch(() => "");
          refused.push(`${name}: ${r.status()} ${method} ${url} ${said}`);
        }
      });
      page.on("pageerror", (error) => wrong.push(`${name}: ${error}`));
      all.push(page);
      await page.goto(`http://localhost:${pages.address().port}/${hash}`);
      return page;
    },
    // Carries out a script, in which nothing may be refused or go wrong in the pages but what is `known` to. Where it fails,
    // all that did is told, and pictures are taken.
    async run(script, known = () => false) {
      try {
        await script();
        const faults = [...refused, ...wrong.filter((why) => !known(why))];
        if (faults.length) throw new Error(faults.join("\n"));
      } catch (error) {
        for (const [n, page] of all.entries()) await web.picture(page, `failed${n}`);
        const unanswered = [...asked].map((r) => `unanswered: ${r.method()} ${r.url()}`);
        console.log([...refused, ...wrong, ...unanswered].join("\n"));
        throw error;
      } finally {
        await web.close();
      }
    },
    async picture(page, name) {
      if (pictures) await page.screenshot({ path: join(pictures, `${name}.png`) });
    },
    async close() {
      await browser.close();
      pages.close();
    },
  };
  return web;
}

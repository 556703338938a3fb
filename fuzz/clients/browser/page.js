// A page with the timeline and the composer of Hydrogen (hydrogen-view-sdk): logs in and opens a room.
//   /#SERVER NAME PASSWORD ROOM     (spaces as %20)
// What became of it is in `window.lavina`: `state`, and the page's own hands for the script that drives it.

import { Client, FeatureSet, LoadStatus, Platform, RoomViewModel, TimelineView, createNavigation, createRouter, viewClassForTile } from "hydrogen-view-sdk";
import downloadSandbox from "hydrogen-view-sdk/download-sandbox.html?url";
import worker from "hydrogen-view-sdk/main.js?url";
import wasm from "@matrix-org/olm/olm.wasm?url";
import wasmBundle from "@matrix-org/olm/olm.js?url";
import legacyBundle from "@matrix-org/olm/olm_legacy.js?url";

const lavina = (window.lavina = { state: "starting" });

async function main() {
  const [server, name, password, id] = decodeURIComponent(location.hash.slice(1)).split(" ");
  location.hash = "";
  const container = document.querySelector("#app");
  const assetPaths = { downloadSandbox, worker, olm: { wasm, wasmBundle, legacyBundle }, serviceWorker: "sw.js" };
  const platform = new Platform({ container, assetPaths, config: {}, options: { development: false } });
  const navigation = createNavigation();
  platform.setNavigation(navigation);
  await platform.init();
  const urlRouter = createRouter({ navigation, history: platform.history });
  urlRouter.attach();
  const client = new Client(platform);
  const door = await client.queryLogin(server).result;
  client.startWithLogin(door.password(name, password));
  const over = [LoadStatus.Ready, LoadStatus.Error, LoadStatus.LoginFailed];
  await client.loadStatus.waitFor((status) => over.includes(status)).promise;
  const why = client.loginFailure ?? client.loadError;
  if (why) throw why;
  const room = await known(client.session.rooms, id);
  const features = await FeatureSet.load(platform.settingsStorage);
  const ownUserId = client.session.userId;
  const model = new RoomViewModel({ room, ownUserId, platform, urlRouter, navigation, features });
  await model.load();
  container.appendChild(new TimelineView(model.timelineViewModel, viewClassForTile).mount());
  lavina.say = (text) => model.composerViewModel.sendMessage(text);
  lavina.state = `in ${room.name}`;
}

// The room, once the client has heard of it.
async function known(rooms, id) {
  for (;;) {
    const room = rooms.get(id);
    if (room) return room;
    await new Promise((go) => setTimeout(go, 100));
  }
}

main().catch((error) => {
  lavina.state = `failed: ${error?.stack ?? error}`;
});

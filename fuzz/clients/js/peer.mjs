// A client of matrix-js-sdk with encryption: it comes into the rooms it is invited to and says what it hears there
// again, until it hears "bye".
//
// Usage: peer.mjs BASE_URL INVITATION NAME

import { ROUND as NAME, login, register, run, sdk, until } from "./common.mjs";

await run("peer.mjs", async () => {
  await register(NAME);
  const peer = await login(NAME, { crypto: true });
  process.stdout.write("ready\n");
  let heard = 0;
  let bye = false;
  const answer = async (event) => {
    if (event.getType() !== "m.room.message" || event.getSender() === peer.getUserId() ) return;
    heard += 1;
    const { body } = event.getContent();
    await peer.sendMessage(event.getRoomId(), { msgtype: "m.text", body: `${event.isEncrypted() ? "sealed" : "open"}: ${body}` });
    bye = body === "bye";
  };
  peer.on(sdk.RoomEvent.MyMembership, (room, membership) => membership === "invite" && peer.joinRoom(room.roomId));
  peer.on(sdk.RoomEvent.Timeline, (event, _, back) => !back && !event.isEncrypted() && answer(event));
  peer.on(sdk.MatrixEventEvent.Decrypted, (event) => answer(event));
  await until("a farewell", () => bye, 100);
  await peer.logout(true);
  return `heard ${heard} from another library`;
});

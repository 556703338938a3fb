// Two clients of matrix-js-sdk do with each other what people do: accounts by invitation, rooms, messages of all kinds,
// history, receipts, profiles, files.
//
// Usage: chat.mjs BASE_URL INVITATION [ROUND]   (exit status 0: they did)

import { BASE, PASSWORD, ROUND, check, event, joined, login, refused, register, run, sdk, until } from "./common.mjs";

const { Direction, EventType, Preset, ReceiptType, RelationType } = sdk;
const text = (body, more = {}) => ({ msgtype: "m.text", body, ...more });
const relate = (rel_type, event_id, more = {}) => ({ "m.relates_to": { rel_type, event_id, ...more } });

// The room, made by ann, that bea is invited to and joins.
async function meet(ann, bea) {
  const { room_id: id } = await ann.createRoom({
    name: "The room",
    topic: "what it is about",
    preset: Preset.PrivateChat,
    room_alias_name: `js-${ROUND}`,
  });
  await ann.invite(id, bea.getUserId(), "come in");
  const invited = await until("the invitation", () => {
    const room = bea.getRoom(id);
    return room?.getMyMembership() === "invite" && room;
  });
  const inviter = invited.getMember(bea.getUserId()).events.member;
  check(inviter.getSender() === ann.getUserId() && inviter.getContent().reason === "come in", "whose invitation, and why");
  check(invited.name === "The room", `the room invited to is called ${invited.name}`);
  await bea.joinRoom(id);
  const [hers, its] = [await joined(ann, id), await joined(bea, id)];
  await until("ann sees bea", () => hers.getMember(bea.getUserId())?.membership === "join");
  check(its.currentState.getStateEvents("m.room.topic", "").getContent().topic === "what it is about", "the topic");
  check((await bea.getRoomIdForAlias(`#js-${ROUND}:localhost`)).room_id === id, "the alias");
  return [hers, its];
}

async function messages(ann, bea, hers, its) {
  const id = hers.roomId;
  await ann.sendTyping(id, true, 5000);
  await until("ann types", () => its.getMember(ann.getUserId()).typing);
  await ann.sendTyping(id, false, 0);
  await until("ann types no more", () => !its.getMember(ann.getUserId()).typing);
  const { event_id: first } = await ann.sendTextMessage(id, "a first message");
  const heard = await event(its, first);
  check(heard.getContent().body === "a first message", "what was said is heard");
  await bea.sendReadReceipt(heard);
  await until("the receipt", () => hers.hasUserReadEvent(bea.getUserId(), first));
  await bea.setRoomReadMarkers(id, first, heard);

  const { event_id: answer } = await bea.sendMessage(id, text("an answer", { "m.relates_to": { "m.in_reply_to": { event_id: first } } }));
  check((await event(hers, answer)).replyEventId === first, "a reply names what it answers");

  const { event_id: edit } = await ann.sendMessage(id, text("* mended", { "m.new_content": text("mended"), ...relate("m.replace", first) }));
  await event(its, first, (e) => e.getContent().body === "mended");
  check((await bea.fetchRoomEvent(id, first)).unsigned["m.relations"]["m.replace"].event_id === edit, "the server knows the edit");

  const { event_id: like } = await bea.sendEvent(id, EventType.Reaction, relate("m.annotation", first, { key: "👍" }));
  await event(hers, like);
  const likes = hers.relations.getChildEventsForEvent(first, RelationType.Annotation, EventType.Reaction);
  await until("the reaction is counted", () => likes?.getSortedAnnotationsByKey()?.[0]?.[1]?.size === 1);
  const related = await ann.relations(id, first, RelationType.Annotation, EventType.Reaction);
  check(related.events.length === 1 && related.events[0].getId() === like, "relations");
  await bea.redactEvent(id, like);
  await event(hers, like, (e) => e.isRedacted());

  const { event_id: slip } = await ann.sendTextMessage(id, "a slip of the tongue");
  await event(its, slip);
  await ann.redactEvent(id, slip, undefined, { reason: "sorry" });
  const gone = await event(its, slip, (e) => e.isRedacted());
  check(!gone.getContent().body, "what is withdrawn is gone");
  await refused("another's edit does not take", "M_FORBIDDEN", () => bea.redactEvent(id, first));
  return { first, answer, slip };
}

async function threads(ann, bea, hers, its, root) {
  const id = hers.roomId;
  const said = [];
  // What a client does that opens a thread. Until the library has read its beginning, an event of one's own that comes
  // by sync before the answer to its request is lost to it ("not a local echo").
  for (const room of [hers, its]) {
    const thread = room.createThread(root, room.findEventById(root), [], false);
    await until("the thread's beginning", () => thread.initialEventsFetched);
  }
  for (const n of [1, 2, 3]) {
    const { event_id } = await (n % 2 ? bea : ann).sendMessage(id, root, text(`in the thread ${n}`));
    said.push(event_id);
    for (const room of [hers, its]) {
      const thread = await until("the thread", () => room.getThread(root));
      await until(`its message ${n}`, () => thread.replyToEvent?.getId() === event_id);
    }
  }
  const list = await ann.createThreadListMessagesRequest(id, null, 10);
  check(list.chunk.length === 1 && list.chunk[0].event_id === root, "the list of threads");
  check(list.chunk[0].unsigned["m.relations"]["m.thread"].count === 3, "the thread is counted");
  const read = hers.getThread(root).events.find((e) => e.getId() === said[2]);
  await ann.sendReadReceipt(read ?? hers.findEventById(said[2]));
  await until("the receipt in the thread", () => its.getThread(root).hasUserReadEvent(ann.getUserId(), said[2]));
}

async function back(bea, ann, its) {
  const id = its.roomId;
  const said = [];
  for (let n = 0; n < 50; n++) said.push((await ann.sendTextMessage(id, `line ${n}`)).event_id);
  await event(its, said[49]);
  // A new device, that has the last few only, pages back to the beginning.
  const late = await login(`bea-${ROUND}`, { limit: 5, device: "late" });
  const room = await joined(late, id);
  const timeline = room.getLiveTimeline();
  check(timeline.getEvents().length < 50, "only the last are there at first");
  while (await late.paginateEventTimeline(timeline, { backwards: true, limit: 7 }));
  const events = timeline.getEvents();
  check(events[0].getType() === EventType.RoomCreate, "paging back ends at the beginning");
  const lines = events.filter((e) => e.getContent().body?.startsWith("line ")).map((e) => e.getId());
  check(lines.join() === said.join(), "every line once, in order");
  const around = await late.getEventTimeline(room.getUnfilteredTimelineSet(), said[25]);
  check(around.getEvents().some((e) => e.getId() === said[25]), "the neighbourhood of a message");
  const at = await late.timestampToEvent(id, room.findEventById(said[10]).getTs(), Direction.Forward);
  check(at.event_id === said[10], "the message of a moment");
  const found = await late.searchRoomEvents({ term: "line 33" });
  check(found.results.length >= 1 && found.results[0].context.getEvent().getId() === said[33], "search");
  check(late.getDeviceId() !== bea.getDeviceId(), "two devices");
  const devices = await bea.getDevices();
  check(devices.devices.length === 2, `bea has two devices, not ${devices.devices.length}`);
  await late.logout(true);
  await until("the device is gone", async () => (await bea.getDevices()).devices.length === 1);
}

async function people(ann, bea, hers, its) {
  const up = await ann.uploadContent(Buffer.from("what is in the file"), { name: "file.txt", type: "text/plain" });
  check(up.content_uri.startsWith("mxc://localhost/"), "an upload has an address");
  const url = bea.mxcUrlToHttp(up.content_uri, undefined, undefined, undefined, false, true, true);
  const got = await fetch(url, { headers: { Authorization: `Bearer ${bea.getAccessToken()}` } });
  check(got.ok && (await got.text()) === "what is in the file", "a download is what was uploaded");
  check((await fetch(url)).status === 401, "a download needs a token");
  const { event_id: file } = await ann.sendMessage(hers.roomId, { msgtype: "m.file", body: "file.txt", url: up.content_uri, info: { size: 19, mimetype: "text/plain" } });
  check((await event(its, file)).getContent().url === up.content_uri, "the file in the room");

  await ann.setDisplayName(`Ann of ${ROUND}`);
  await ann.setAvatarUrl(up.content_uri);
  const profile = await bea.getProfileInfo(ann.getUserId());
  check(profile.displayname === `Ann of ${ROUND}` && profile.avatar_url === up.content_uri, "the profile");
  await until("the name in the room", () => its.getMember(ann.getUserId()).name === `Ann of ${ROUND}`);
  const known = await bea.searchUserDirectory({ term: `ann of ${ROUND}` });
  check(known.results.some((r) => r.user_id === ann.getUserId()), "the user directory");

  await ann.setPresence({ presence: "online", status_msg: "here" });
  await until("ann is here", () => bea.getUser(ann.getUserId())?.presenceStatusMsg === "here");
  check((await bea.getPresence(ann.getUserId())).status_msg === "here", "presence is there to ask for");

  await ann.setRoomTag(hers.roomId, "m.favourite", { order: 0.25 });
  await until("the tag", () => hers.tags["m.favourite"]?.order === 0.25);
  await ann.setAccountData("org.example.note", { n: 1 });
  await until("account data", () => ann.getAccountData("org.example.note")?.getContent().n === 1);
  await bea.setIgnoredUsers([ann.getUserId()]);
  await until("ignored", () => bea.isUserIgnored(ann.getUserId()));
  await bea.setIgnoredUsers([]);
}

async function state(ann, bea, hers, its) {
  const id = hers.roomId;
  await ann.setRoomName(id, "Another name");
  await until("the name", () => its.name === "Another name");
  await refused("a name by whoever has no power", "M_FORBIDDEN", () => bea.setRoomName(id, "mine"));
  await ann.setPowerLevel(id, bea.getUserId(), 50);
  await until("the power", () => its.getMember(bea.getUserId()).powerLevel === 50);
  await bea.setRoomTopic(id, "by bea");
  await until("the topic", () => hers.currentState.getStateEvents("m.room.topic", "").getContent().topic === "by bea");
  await ann.kick(id, bea.getUserId(), "out");
  await until("kicked", () => bea.getRoom(id).getMyMembership() === "leave");
  await refused("coming back uninvited", "M_FORBIDDEN", () => bea.joinRoom(id));
  await ann.ban(id, bea.getUserId());
  await until("banned", () => bea.getRoom(id).getMyMembership() === "ban");
  await ann.unban(id, bea.getUserId());
  await ann.invite(id, bea.getUserId());
  await until("invited again", () => bea.getRoom(id).getMyMembership() === "invite");
  await bea.leave(id);
  await until("declined", () => hers.getMember(bea.getUserId()).membership === "leave");
  await bea.forget(id);
  check(!bea.getRoom(id), "a forgotten room is gone");
  check(!(await bea.getJoinedRooms()).joined_rooms.includes(id), "no longer a member");
  await refused("reading a forgotten room", "M_FORBIDDEN", () => bea.createMessagesRequest(id, null, 5, Direction.Backward));
  await ann.leave(id);
  await until("left", () => ann.getRoom(id).getMyMembership() === "leave");
}

async function more(ann, bea) {
  const { room_id: open } = await ann.createRoom({ preset: Preset.PublicChat, visibility: "public", name: `Public ${ROUND}`, room_alias_name: `js-public-${ROUND}` });
  const rooms = await bea.publicRooms({ limit: 20, filter: { generic_search_term: `Public ${ROUND}` } });
  check(rooms.chunk.some((r) => r.room_id === open), "the directory");
  check((await bea.getRoomSummary(open)).name === `Public ${ROUND}`, "the summary of a room one is not in");
  await bea.joinRoom(`#js-public-${ROUND}:localhost`);
  await joined(bea, open);
  const { room_id: space } = await ann.createRoom({ name: "Space", creation_content: { type: "m.space" }, preset: Preset.PublicChat });
  await ann.sendStateEvent(space, EventType.SpaceChild, { via: ["localhost"] }, open);
  const tree = await bea.getRoomHierarchy(space, 10);
  check(tree.rooms.length === 2 && tree.rooms[1].room_id === open, "the rooms of a space");
  const { room_id: dm } = await ann.createRoom({ is_direct: true, invite: [bea.getUserId()], preset: Preset.TrustedPrivateChat });
  const hers = await joined(ann, dm);
  await joined(bea, dm);
  await ann.sendTextMessage(dm, "in private");
  await until("in private", () => bea.getRoom(dm).timeline.some((e) => e.getContent().body === "in private"));
  check(ann.getAccountData("m.direct")?.getContent()[bea.getUserId()]?.includes(dm), "m.direct");
  check(hers.getJoinedMemberCount() === 2, "a private chat has two members");
  const { replacement_room: next } = await ann.upgradeRoom(open, "11");
  await until("the tombstone", () => bea.getRoom(open).currentState.getStateEvents("m.room.tombstone", "")?.getContent().replacement_room === next);
  await bea.joinRoom(next);
  await joined(bea, next);
  check(ann.getRoom(next).getVersion() === "11", "the version");
}

await run("chat.mjs", async () => {
  for (const name of ["ann", "bea"]) {
    const made = await register(`${name}-${ROUND}`);
    check(made.user_id === `@${name}-${ROUND}:localhost` && made.access_token, "an account comes with a device");
    const first = sdk.createClient({ baseUrl: BASE, accessToken: made.access_token, userId: made.user_id });
    check((await first.whoami()).user_id === made.user_id, "whoami");
    await first.logout();
    await refused("a token after log-out", "M_UNKNOWN_TOKEN", () => first.whoami());
  }
  const wrong = sdk.createClient({ baseUrl: BASE });
  await refused("a wrong password", "M_FORBIDDEN", () => wrong.loginWithPassword(`ann-${ROUND}`, `not ${PASSWORD}`));
  const [ann, bea] = [await login(`ann-${ROUND}`), await login(`bea-${ROUND}`)];
  const [hers, its] = await meet(ann, bea);
  const { first } = await messages(ann, bea, hers, its);
  await threads(ann, bea, hers, its, first);
  await back(bea, ann, its);
  await people(ann, bea, hers, its);
  await more(ann, bea);
  await state(ann, bea, hers, its);
  await ann.logout(true);
  await bea.logout(true);
  return "two clients did what people do daily";
});

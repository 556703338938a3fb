// Encryption between clients of matrix-js-sdk: keys, cross-signing, an encrypted room, key backup, a verified third
// device that restores what was said before it came.
//
// Usage: secret.mjs BASE_URL INVITATION [ROUND]   (exit status 0: they did)

import { PASSWORD, ROUND, check, event, joined, login, register, run, sdk, until } from "./common.mjs";
import { CryptoEvent, VerificationPhase, VerifierEvent } from "matrix-js-sdk/lib/crypto-api/index.js";

const { EventType, Preset } = sdk;
const [ANN, BEA] = [`cat-${ROUND}`, `dot-${ROUND}`];
const text = (body) => ({ msgtype: "m.text", body });

// Where a client keeps the key of the secret storage, as its user would.
function keyring() {
  let key;
  return {
    put: (made) => (key = made),
    callbacks: {
      getSecretStorageKey: async ({ keys }) => [Object.keys(keys)[0], key.privateKey],
      cacheSecretStorageKey: () => {},
    },
  };
}

// Cross-signing keys, secret storage and a key backup, as a client makes them at the first log-in.
async function bootstrap(client, ring) {
  const crypto = client.getCrypto();
  const flow = async (upload) => {
    const asked = await upload(null).then(() => null, (error) => error);
    if (!asked) return;
    check(asked.httpStatus === 401, `new signing keys ask who it is: ${asked}`);
    const identifier = { type: "m.id.user", user: client.getUserId() };
    await upload({ type: "m.login.password", identifier, password: PASSWORD, session: asked.data.session });
  };
  await crypto.bootstrapCrossSigning({ authUploadDeviceSigningKeys: flow });
  const key = await crypto.createRecoveryKeyFromPassphrase();
  ring.put(key);
  await crypto.bootstrapSecretStorage({ createSecretStorageKey: async () => key, setupNewKeyBackup: true });
  await until("cross-signing is ready", () => crypto.isCrossSigningReady());
  await until("secret storage is ready", () => crypto.isSecretStorageReady());
  await until("the backup is on", () => crypto.getActiveSessionBackupVersion());
  check(await crypto.userHasCrossSigningKeys(client.getUserId(), true), "the server has the signing keys");
}

const readable = (room, id, body) =>
  event(room, id, (e) => !e.isBeingDecrypted() && e.getType() === EventType.RoomMessage && e.getContent().body === body);

async function talk(ann, bea, id) {
  const [hers, its] = [await joined(ann, id), await joined(bea, id)];
  await until("both know", () => [hers, its].every((r) => r.getJoinedMemberCount() === 2 && r.hasEncryptionStateEvent()));
  for (let n = 0; n < 10; n++) {
    const [from, room] = n % 2 ? [bea, hers] : [ann, its];
    const { event_id } = await from.sendMessage(id, text(`secret ${n}`));
    await readable(room, event_id, `secret ${n}`);
    const raw = await room.client.fetchRoomEvent(id, event_id);
    check(raw.type === "m.room.encrypted" && !JSON.stringify(raw).includes("secret"), "the server has ciphertext only");
  }
  const { event_id: first } = await ann.sendMessage(id, text("to be mended"));
  await readable(its, first, "to be mended");
  const edit = { ...text("* mended"), "m.new_content": text("mended"), "m.relates_to": { rel_type: "m.replace", event_id: first } };
  await ann.sendMessage(id, edit);
  await readable(its, first, "mended");
  await bea.sendEvent(id, EventType.Reaction, { "m.relates_to": { rel_type: "m.annotation", event_id: first, key: "🔒" } });
  const likes = () => hers.relations.getChildEventsForEvent(first, "m.annotation", EventType.Reaction);
  await until("the reaction", () => likes()?.getSortedAnnotationsByKey()?.[0]?.[1]?.size === 1);
  return first;
}

// A request answered with emoji on both sides; both agree.
async function verify(request, other) {
  await until("the request comes", () => other.request);
  await other.request.accept();
  await until("ready", () => request.phase === VerificationPhase.Ready);
  const verifier = await request.startVerification("m.sas.v1");
  const shown = [];
  const agree = (sas) => {
    shown.push(JSON.stringify(sas.sas.emoji));
    sas.confirm();
  };
  verifier.on(VerifierEvent.ShowSas, agree);
  const its = await until("the other begins", () => other.request.verifier);
  its.on(VerifierEvent.ShowSas, agree);
  await Promise.all([verifier.verify(), its.verify()]);
  check(shown.length === 2 && shown[0] === shown[1], "both were shown the same");
  await until("done", () => request.phase === VerificationPhase.Done && other.request.phase === VerificationPhase.Done);
}

const waiting = (client) => {
  const other = {};
  client.on(CryptoEvent.VerificationRequestReceived, (request) => (other.request = request));
  return other;
};

// The keys of what was said are in the backup.
const backed = (client, count) =>
  until("the keys are backed up", async () => {
    const info = await client.http.authedRequest("GET", "/room_keys/version", undefined, undefined, { prefix: "/_matrix/client/v3" });
    return info.count >= count;
  });

await run("secret.mjs", async () => {
  for (const name of [ANN, BEA]) await register(name);
  const [hers, its] = [keyring(), keyring()];
  const ann = await login(ANN, { crypto: true, callbacks: hers.callbacks });
  const bea = await login(BEA, { crypto: true, callbacks: its.callbacks });
  await bootstrap(ann, hers);
  await bootstrap(bea, its);

  const { room_id: id } = await ann.createRoom({
    preset: Preset.PrivateChat,
    invite: [bea.getUserId()],
    initial_state: [{ type: EventType.RoomEncryption, state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } }],
  });
  await until("the invitation", () => bea.getRoom(id)?.getMyMembership() === "invite");
  await bea.joinRoom(id);
  const said = await talk(ann, bea, id);

  // The two verify each other.
  const other = waiting(bea);
  await ann.getCrypto().getUserDeviceInfo([bea.getUserId()], true);
  const { room_id: dm } = await ann.createRoom({ preset: Preset.PrivateChat, invite: [bea.getUserId()] });
  await until("the other invitation", () => bea.getRoom(dm)?.getMyMembership() === "invite");
  await bea.joinRoom(dm);
  await Promise.all([joined(ann, dm), joined(bea, dm)]);
  await until("both are there", () => ann.getRoom(dm).getJoinedMemberCount() === 2);
  await verify(await ann.getCrypto().requestVerificationDM(bea.getUserId(), dm), other);
  const status = () => ann.getCrypto().getUserVerificationStatus(bea.getUserId());
  await until("ann trusts bea", async () => (await status()).isVerified());

  // A third device of ann is verified by her first, gets the secrets, and reads what was said before.
  await backed(ann, 2);
  const here = waiting(ann);
  const third = await login(ANN, { crypto: true, callbacks: hers.callbacks, device: "third" });
  const crypto = third.getCrypto();
  await until("the old device is known", async () => {
    const devices = await crypto.getUserDeviceInfo([ann.getUserId()], true);
    return devices.get(ann.getUserId())?.has(ann.getDeviceId());
  });
  await verify(await crypto.requestOwnUserVerification(), here);
  const trusted = () => ann.getCrypto().getDeviceVerificationStatus(ann.getUserId(), third.getDeviceId());
  await until("the third device is trusted", async () => (await trusted())?.crossSigningVerified);
  await until("it has the backup's key", () => crypto.getSessionBackupPrivateKey());
  const restored = await crypto.restoreKeyBackup();
  check(restored.imported >= 2 && restored.imported === restored.total, `restored ${restored.imported} of ${restored.total}`);
  const room = await joined(third, id);
  while (await third.paginateEventTimeline(room.getLiveTimeline(), { backwards: true, limit: 30 }));
  await readable(room, said, "mended");
  await third.sendMessage(id, text("from the third device"));
  await until("bea reads it", () => bea.getRoom(id).timeline.some((e) => e.getContent().body === "from the third device"));
  await third.logout(true);

  // A fourth comes when no other is there: by the recovery key alone.
  await ann.logout(true);
  const fourth = await login(ANN, { crypto: true, callbacks: hers.callbacks, device: "fourth" });
  await fourth.getCrypto().bootstrapCrossSigning({});
  await fourth.getCrypto().loadSessionBackupPrivateKeyFromSecretStorage();
  await fourth.getCrypto().checkKeyBackupAndEnable();
  const again = await fourth.getCrypto().restoreKeyBackup();
  check(again.imported >= 2, `restored ${again.imported}`);
  const last = await joined(fourth, id);
  while (await fourth.paginateEventTimeline(last.getLiveTimeline(), { backwards: true, limit: 30 }));
  await readable(last, said, "mended");
  check(await fourth.getCrypto().isCrossSigningReady(), "the fourth device is cross-signed");
  await fourth.logout(true);
  await bea.logout(true);
  return "encryption, cross-signing, verification, key backup";
});

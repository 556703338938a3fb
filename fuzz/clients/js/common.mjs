// What the scripts share: clients that log in and follow, and waiting for things.

import "fake-indexeddb/auto";
import * as sdk from "matrix-js-sdk";

export const [BASE, TOKEN, ROUND = "one"] = process.argv.slice(2);
export const PASSWORD = "ci-password of js";
export { sdk };

// The library tells a lot; with LOUD in the environment it is shown.
if (!process.env.LOUD) for (const level of ["trace", "debug", "log", "info", "warn", "error"]) console[level] = () => {};

export function check(truth, what) {
  if (!truth) throw new Error(`not so: ${what}`);
}

// Waits until `test` gives something true: that.
export async function until(what, test, seconds = 20) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const found = await test();
    if (found) return found;
    if (Date.now() > end) throw new Error(`in vain: ${what}`);
    await new Promise((go) => setTimeout(go, 20));
  }
}

export async function refused(what, code, attempt) {
  try {
    await attempt();
  } catch (error) {
    check(error.errcode === code, `${what} is refused with ${code}, not ${error.errcode ?? error}`);
    return error;
  }
  throw new Error(`not refused: ${what}`);
}

// An account by the invitation, as a client makes one: asked first, then with the stage it was told.
export async function register(name) {
  const client = sdk.createClient({ baseUrl: BASE });
  const wish = { username: name, password: PASSWORD };
  const asked = await client.registerRequest(wish).then(
    () => check(false, "an account without an invitation"),
    (error) => error,
  );
  check(asked.httpStatus === 401, `registration says what it needs: ${asked}`);
  const stages = asked.data.flows.map((flow) => flow.stages.join());
  check(stages.includes("m.login.registration_token"), `the flows are ${stages}`);
  const auth = { type: "m.login.registration_token", token: TOKEN, session: asked.data.session };
  return client.registerRequest({ ...wish, auth });
}

// A client of an account: logged in on a new device, and following.
export async function login(name, options = {}) {
  const door = sdk.createClient({ baseUrl: BASE });
  const flows = await door.loginFlows();
  check(flows.flows.some((flow) => flow.type === "m.login.password"), "log-in by password");
  const who = await door.loginRequest({
    type: "m.login.password",
    identifier: { type: "m.id.user", user: name },
    password: PASSWORD,
    initial_device_display_name: options.device ?? "a script",
  });
  const client = sdk.createClient({
    baseUrl: BASE,
    userId: who.user_id,
    accessToken: who.access_token,
    deviceId: who.device_id,
    timelineSupport: true,
    cryptoCallbacks: options.callbacks,
    verificationMethods: ["m.sas.v1"],
  });
  if (options.crypto) {
    await client.initRustCrypto({ cryptoDatabasePrefix: `${who.user_id} ${who.device_id}` });
  }
  await client.startClient({ initialSyncLimit: options.limit ?? 20, threadSupport: true });
  await until(`${name} syncs`, () => client.isInitialSyncComplete() && client.getSyncState() === "SYNCING");
  return client;
}

// The room as a client has it, once it is joined.
export const joined = (client, id) =>
  until(`${client.getUserId()} is in ${id}`, () => {
    const room = client.getRoom(id);
    return room?.getMyMembership() === "join" && room;
  });

// An event of a room, once it is there and `test` holds.
export const event = (room, id, test = () => true) =>
  until(`${id} in ${room.roomId}`, () => {
    const found = room.findEventById(id);
    return found && test(found) && found;
  });

// Runs a script: all is well, or what is wrong, within a time.
export async function run(name, script) {
  const bound = setTimeout(() => {
    process.stderr.write(`${name}: it takes too long\n`, () => process.exit(1));
  }, 120_000);
  try {
    const told = await script();
    clearTimeout(bound);
    process.stdout.write(`matrix-js-sdk: ${told}\n`, () => process.exit(0));
  } catch (error) {
    const why = `${name}: ${error.stack ?? error} ${JSON.stringify(error.data ?? "")}\n`;
    process.stderr.write(why, () => process.exit(1));
  }
}

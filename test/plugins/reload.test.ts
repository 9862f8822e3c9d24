import { describe, expect, test } from "bun:test";
import { renameSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { backend } from "../support/backend.ts";
import { servingPlugins } from "../support/plugins.ts";

const plugin = (version: string, more = ""): string => `
import type { Plugin } from "sluice";
import { lib } from "./lib/name";
export default {
  name: "versioned",
  setup(options, { log }) { log.info("set up", { version: ${JSON.stringify(version)}, lib, options }); },
  async request(request) {
    ${more}
    request.headers.set("X-Version", ${JSON.stringify(version)} + " " + lib);
    if (request.url.endsWith("/waits")) await new Promise<void>((done) => { (globalThis as unknown as { goOn: () => void }).goOn = done; });
  },
  response(response) { response.headers.set("X-Version", ${JSON.stringify(version)} + " " + lib); },
  ended(_, { log }) { log.info("ended", { version: ${JSON.stringify(version)} }); },
  stop() { console.debug; (globalThis as unknown as { stopped: string[] }).stopped.push(${JSON.stringify(version)}); },
} satisfies Plugin;
`;
const lib = (name: string): string => `export const lib: string = ${JSON.stringify(name)};\n`;

const world = globalThis as unknown as { stopped: string[]; goOn: () => void };

async function versioned(behind: { readonly url: string }, plugins: readonly object[] = [{ file: "v.ts" }]) {
  world.stopped = [];
  const routes = [{ path: "/a", upstream: behind.url, auth: "none" }];
  const gateway = await servingPlugins({ "v.ts": plugin("1"), "lib/name.ts": lib("one") }, { plugins, routes });
  return {
    gateway,
    routes,
    /** Gives what the request, and what the answer, was seen by. */
    versions: async (): Promise<(string | null | undefined)[]> => {
      const answer = await fetch(`${gateway.url}/a/x`);
      const { headers } = (await answer.json()) as { headers: Record<string, string> };
      return [headers["x-version"], answer.headers.get("x-version")];
    },
    warnings: async (): Promise<unknown[]> => ((await (await fetch(`${gateway.url}/ready`)).json()) as { warnings: unknown[] }).warnings,
    [Symbol.asyncDispose]: () => gateway.stop(),
  };
}

/** Waits until something holds. */
async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await Bun.sleep(10);
}

describe("a plug-in that changes", () => {
  test("is loaded again when its file changes, or what it imports, and the old one is stopped", async () => {
    using behind = backend();
    await using tried = await versioned(behind);
    const { gateway, versions } = tried;
    expect(await versions()).toEqual(["1 one", "1 one"]);
    gateway.write({ "v.ts": plugin("2") });
    await until(async () => (await versions())[0] === "2 one");
    expect(world.stopped).toEqual(["1"]);
    gateway.write({ "lib/name.ts": lib("two") });
    await until(async () => (await versions())[0] === "2 two");
    expect(world.stopped).toEqual(["1", "2"]);
  });

  test.each([
    ["its folder is", "current/v.ts"],
    ["it is, as Kubernetes puts a ConfigMap's files in place,", "v-link.ts"],
  ])("is followed where %s a link that is turned", async (_, file) => {
    using behind = backend();
    await using tried = await versioned(behind);
    const { gateway, routes, versions } = tried;
    const turn = (to: string): void => {
      symlinkSync(to, join(gateway.folder, "next"));
      renameSync(join(gateway.folder, "next"), join(gateway.folder, "current"));
    };
    gateway.write({ "r1/v.ts": plugin("1"), "r1/lib/name.ts": lib("first") });
    gateway.write({ "r2/v.ts": plugin("2"), "r2/lib/name.ts": lib("second") });
    symlinkSync("current/v.ts", join(gateway.folder, "v-link.ts"));
    turn("r1");
    gateway.configure({ plugins: [{ file }], routes, tiers: { anonymous: { limits: [] } } });
    const reloaded = async () => [await gateway.reload(), (await versions())[0]];
    expect(await reloaded()).toEqual([[], "1 first"]);
    turn("r2");
    expect(await reloaded()).toEqual([[], "2 second"]);
    gateway.write({ "r2/lib/name.ts": lib("third") });
    await until(async () => (await versions())[0] === "2 third");
    turn("r1");
    expect(await reloaded()).toEqual([[], "1 first"]);
  });

  test("is loaded again with other options, and not when nothing has changed", async () => {
    using behind = backend();
    await using tried = await versioned(behind);
    const { gateway, routes } = tried;
    const setups = async () => (await gateway.logged()).filter(({ msg }) => msg === "set up").map(({ options }) => options);
    expect(await gateway.reload()).toEqual([]);
    gateway.configure({ plugins: [{ file: "v.ts", timeout: "2s" }], routes });
    expect(await gateway.reload()).toEqual([]);
    expect(await setups()).toEqual([{}]);
    gateway.configure({ plugins: [{ file: "v.ts", options: { a: 1 } }], routes });
    expect(await gateway.reload()).toEqual([]);
    expect(await setups()).toEqual([{}, { a: 1 }]);
    expect(world.stopped).toEqual(["1"]);
    gateway.configure({ routes });
    expect(await gateway.reload()).toEqual([]);
    expect(world.stopped).toEqual(["1", "1"]);
    expect(await tried.versions()).toEqual([undefined, null]);
  });

  test.each([
    ["does not load", { "v.ts": "export default {\n  request() { const x = ; },\n};\n" }, "plugins[0].file: v.ts:2:25: Unexpected ;"],
    ["is gone", null, "plugins[0].file: there is no file"],
    ["imports what does not load", { "lib/name.ts": "export const lib =;\n" }, "plugins[0].file: lib/name.ts:1:19: Unexpected ;"],
    ["can't be set up", { "v.ts": `${plugin("3")}\nthrow new Error("not today");\n` }, "plugins[0].file: v.ts:17:11: not today"],
  ] as const)("and then %s: the one before serves on, and operators are told until it is mended", async (_, files, fault) => {
    using behind = backend();
    await using tried = await versioned(behind);
    const { gateway, versions, warnings } = tried;
    if (files === null) rmSync(join(gateway.folder, "v.ts"));
    else gateway.write(files);
    await until(async () => (await warnings()).length > 0);
    expect(await warnings()).toEqual([expect.objectContaining({ code: "configurationFaulty", detail: expect.stringContaining(fault) })]);
    expect(await versions()).toEqual(["1 one", "1 one"]);
    expect((await gateway.logged()).find(({ msg }) => msg.startsWith("configuration not reloaded"))?.faults).toEqual([
      expect.stringContaining(fault),
    ]);
    const refused = await gateway.admin("POST", "/admin/config/reload");
    expect(refused.status).toBe(422);
    expect(await refused.text()).toContain(fault.split(": ").at(-1) ?? "");
    gateway.write({ "v.ts": plugin("4"), "lib/name.ts": lib("mended") });
    await until(async () => (await versions())[0] === "4 mended");
    expect(await warnings()).toEqual([]);
  });

  test("waits for a file that it imports to come", async () => {
    using behind = backend();
    await using tried = await versioned(behind);
    const { gateway, versions, warnings } = tried;
    rmSync(join(gateway.folder, "lib/name.ts"));
    await until(async () => (await warnings()).length > 0);
    gateway.write({ "lib/name.ts": lib("back") });
    await until(async () => (await versions())[0] === "1 back");
  });

  test("keeps the requests that began with it to their end, and is stopped then", async () => {
    using behind = backend();
    await using tried = await versioned(behind, [{ file: "v.ts", timeout: "1m" }]);
    const { gateway, versions } = tried;
    const waiting = fetch(`${gateway.url}/a/waits`);
    await until(() => world.goOn !== undefined);
    gateway.write({ "v.ts": plugin("2") });
    expect(await gateway.reload()).toEqual([]);
    expect(await versions()).toEqual(["2 one", "2 one"]);
    expect(world.stopped).toEqual([]);
    world.goOn();
    expect((await waiting).headers.get("x-version")).toBe("1 one");
    await until(() => world.stopped.length > 0);
    expect(world.stopped).toEqual(["1"]);
    expect((await gateway.logged()).filter(({ msg }) => msg === "ended").map(({ version }) => version)).toEqual(["2", "1"]);
  });

  test("goes together with the rest of the configuration, or not at all", async () => {
    using behind = backend();
    await using tried = await versioned(behind);
    const { gateway, routes, versions } = tried;
    gateway.write({ "v.ts": plugin("2") });
    gateway.configure({ plugins: [{ file: "v.ts" }], routes, storage: { path: "elsewhere.db" } });
    expect((await gateway.reload()).map(({ path }) => path.join("."))).toEqual(["storage.path"]);
    expect(await versions()).toEqual(["1 one", "1 one"]);
    // The new one was set up, and has nothing to do.
    expect(world.stopped).toEqual(["2"]);
    gateway.configure({ plugins: [{ file: "v.ts" }, { file: "none.ts" }], routes });
    expect((await gateway.reload()).map(({ path }) => path.join("."))).toEqual(["plugins.1.file"]);
    expect(await versions()).toEqual(["1 one", "1 one"]);
  });

  test("two reloads at the same time come one after the other", async () => {
    using behind = backend();
    await using tried = await versioned(behind);
    const { gateway, versions } = tried;
    gateway.write({ "v.ts": plugin("2", "").replace("setup(options, { log }) {", "async setup(options, { log }) { await Bun.sleep(20);") });
    const answers = await Promise.all([1, 2, 3, 4].map(() => gateway.admin("POST", "/admin/config/reload")));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    const setups = (await gateway.logged()).filter(({ msg, version }) => msg === "set up" && version === "2");
    expect(setups).toHaveLength(1);
    expect(await versions()).toEqual(["2 one", "2 one"]);
  });
});

describe("a gateway that stops", () => {
  test("stops its plug-ins", async () => {
    using behind = backend();
    const { gateway } = await versioned(behind);
    await gateway.stop();
    expect(world.stopped).toEqual(["1"]);
  });
});

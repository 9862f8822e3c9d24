import { describe, expect, test } from "bun:test";
import { ConfigConflict } from "../../src/gateway/reload.ts";
import { faultLines } from "../../src/schema/faults.ts";
import { backend } from "../support/backend.ts";
import { servingPlugins } from "../support/plugins.ts";

/** Gives the faults of a gateway that does not start with this plug-in. */
async function faultsWith(files: Readonly<Record<string, string>>, plugin: object = {}): Promise<string[]> {
  const config = { plugins: [{ file: "./plugins/p.ts", ...plugin }], routes: [] };
  try {
    await using gateway = await servingPlugins(files, config);
    return [gateway.url];
  } catch (error) {
    if (!(error instanceof ConfigConflict)) throw error;
    return faultLines("config.json", error.faults).map((line) => line.replace("config.json:1:1 ", ""));
  }
}

const HOOK = "request() {},";

describe("a start with a plug-in", () => {
  test.each([
    ["that is not there", {}, /^plugins\[0\]\.file: there is no file \/.*\/plugins\/p\.ts$/],
    [
      "with a syntax error",
      { "plugins/p.ts": "export default {\n  request() {\n    const x = ;\n  },\n};\n" },
      "plugins[0].file: plugins/p.ts:3:15: Unexpected ;",
    ],
    [
      "with several of them",
      { "plugins/p.ts": "const a = 1;\nconst a = 2;\nlet q = @;\n" },
      /^plugins\[0\]\.file: plugins\/p\.ts:2:7: "a" has already been declared; plugins\/p\.ts:3:10: /,
    ],
    [
      "that imports one with a syntax error",
      { "plugins/p.ts": `import { a } from "./lib/a";\nexport default { ${HOOK} a };\n`, "plugins/lib/a.ts": "export const a =;\n" },
      "plugins[0].file: plugins/lib/a.ts:1:17: Unexpected ;",
    ],
    [
      "that imports what is not there",
      { "plugins/p.ts": `// A comment.\nimport { a } from "./lib/a";\nexport default { ${HOOK} a };\n` },
      'plugins[0].file: plugins/p.ts:2:19: can\'t find "./lib/a"',
    ],
    [
      "that imports a package that is not there",
      { "plugins/p.ts": `import { a } from "@nobody/nothing-of-this-name";\nexport default { ${HOOK} a };\n` },
      'plugins[0].file: plugins/p.ts:1:19: can\'t find "@nobody/nothing-of-this-name"',
    ],
    [
      "that throws when it is loaded",
      {
        "plugins/p.ts": `const from = (name: string): never => {\n  throw new Error(\`no \${name}\`);\n};\nexport default from("tenants");\n`,
      },
      "plugins[0].file: plugins/p.ts:2:13: no tenants",
    ],
    [
      "without a default export",
      { "plugins/p.ts": "export const request = () => {};\n" },
      "plugins[0].file: plugins/p.ts: it exports no plug-in: write `export default { … }` with the hooks that you need",
    ],
    [
      "whose default export is a function",
      { "plugins/p.ts": "export default () => {};\n" },
      "plugins[0].file: plugins/p.ts: its default export is no object: write `export default { … }` with the hooks that you need",
    ],
    [
      "without a hook",
      { "plugins/p.ts": "export default { setup() {} };\n" },
      "plugins[0].file: plugins/p.ts: it has no hook: write one of request, identify, admit, response, ended",
    ],
    [
      "with a misspelt hook",
      { "plugins/p.ts": `export default { ${HOOK} respons() {} };\n` },
      'plugins[0].file: plugins/p.ts: there is no hook "respons", did you mean "response"?',
    ],
    [
      "with a hook that is none",
      { "plugins/p.ts": "export default { request: 7 };\n" },
      "plugins[0].file: plugins/p.ts: request is no function",
    ],
    [
      "with a name that is none",
      { "plugins/p.ts": `export default { name: "a b", ${HOOK} };\n` },
      "plugins[0].file: plugins/p.ts: its name must have 1 to 64 letters, digits and . _ - in it",
    ],
    [
      "whose setup throws",
      {
        "plugins/p.ts": `export default {\n  ${HOOK}\n  setup(options) {\n    if (options.url === undefined) throw new Error("url is missing");\n  },\n};\n`,
      },
      "plugins[0]: setup: plugins/p.ts:4:46: url is missing",
    ],
    [
      "whose async setup throws",
      {
        "plugins/p.ts": `export default {\n  ${HOOK}\n  async setup(options) {\n    await 1;\n    throw new Error("url is missing");\n  },\n};\n`,
      },
      "plugins[0]: setup: plugins/p.ts:5:15: url is missing",
    ],
  ])("%s fails with its place in the file, and its own line", async (_, files, message) => {
    const faults = await faultsWith(files);
    expect(faults).toEqual([typeof message === "string" ? message : expect.stringMatching(message)]);
  });

  test("tells the faults of all of them", async () => {
    const files = { "a.ts": "export default 1;\n", "b.ts": "export default {};\n" };
    const config = { plugins: [{ file: "a.ts" }], routes: [{ path: "/a", upstream: "http://127.0.0.1:1", plugins: [{ file: "b.ts" }] }] };
    const failed = await servingPlugins(files, config).catch((error: unknown) => error);
    expect(failed).toBeInstanceOf(ConfigConflict);
    expect(failed instanceof ConfigConflict ? faultLines("f", failed.faults) : []).toEqual([
      expect.stringContaining("plugins[0].file: a.ts"),
      expect.stringContaining("routes[0].plugins[0].file: b.ts"),
    ]);
  });
});

const SETUP = `
import type { Plugin, Tools } from "sluice";
let given: { options: unknown; env: unknown } | null = null;
let tools: Tools | null = null;
let count = 0;
export default {
  setup(options, with_) {
    given = { options, env: with_.env.PLUGIN_TEST };
    tools = with_;
    with_.log.info("set up", { options });
    (options as Record<string, unknown>).changed = true;
  },
  async request(request) {
    const path = new URL(request.url).pathname;
    if (path.endsWith("/given")) return Response.json({ ...given, count: ++count });
    if (path.endsWith("/fetch")) return (await tools?.fetch(String(given?.options && (given.options as { url: string }).url))) ?? new Response();
    return undefined;
  },
} satisfies Plugin;
`;

describe("a plug-in that is loaded", () => {
  test("gets its options, a log, the environment and fetch; its name is its file's", async () => {
    using behind = backend();
    const to = { upstream: behind.url, auth: "none" };
    const options = {
      url: `${behind.url}/status?body=fetched`,
      list: [1],
      session_secret: "hidden-value-0123456789",
      deep: [{ tokens: { one: "hidden-value-9876543210" }, shown: 1 }],
    };
    await using gateway = await servingPlugins(
      { "setup.ts": SETUP },
      { plugins: [{ file: "setup.ts", options }], routes: [{ path: "/a", ...to }] },
    );
    expect(await (await fetch(`${gateway.url}/a/given`)).json()).toMatchObject({
      options: { ...options, changed: true },
      env: "from the environment",
    });
    expect(await (await fetch(`${gateway.url}/a/fetch`)).text()).toBe("fetched");
    expect((await gateway.logged()).find(({ msg }) => msg === "set up")).toMatchObject({ level: "info", plugin: "setup" });
    const shown = await (await gateway.admin("GET", "/admin/config")).text();
    expect(shown).not.toContain("hidden-value");
    // What it changes is its own copy.
    expect(shown).not.toContain("changed");
  });

  test("is one for all routes that name it with the same options, and another one with others", async () => {
    using behind = backend();
    const to = { upstream: behind.url, auth: "none" };
    const plugin = (n: number, more: object = {}) => ({ plugins: [{ file: "./setup.ts", options: { n }, ...more }] });
    await using gateway = await servingPlugins(
      { "setup.ts": SETUP },
      {
        routes: [
          { path: "/a", ...to, ...plugin(1) },
          { path: "/b", ...to, ...plugin(1, { timeout: "3s", onError: "skip" }) },
          { path: "/c", ...to, ...plugin(2) },
        ],
      },
    );
    const counts = [];
    for (const path of ["/a", "/b", "/c", "/a"])
      counts.push(((await (await fetch(`${gateway.url}${path}/given`)).json()) as { count: number }).count);
    expect(counts).toEqual([1, 2, 1, 3]);
  });

  test("may be JavaScript, a class, and use packages and files beside it", async () => {
    using behind = backend();
    await using gateway = await servingPlugins(
      {
        "p.js":
          'import { greeting } from "pkg";\nimport { join } from "node:path";\nimport list from "./list.json";\nclass P {\n  name = "classy";\n  said = greeting;\n  request(request) { request.headers.set("X-Said", join(this.said, ...list)); }\n}\nexport default new P();\n',
        "list.json": '["b", "c"]',
        "node_modules/pkg/package.json": '{ "name": "pkg", "main": "index.js" }',
        "node_modules/pkg/index.js": 'export const greeting = "a";\n',
      },
      { plugins: [{ file: "p.js" }], routes: [{ path: "/a", upstream: behind.url, auth: "none" }] },
    );
    const { headers } = (await (await fetch(`${gateway.url}/a/x`)).json()) as { headers: Record<string, string> };
    expect(headers["x-said"]).toBe("a/b/c");
  });
});

import { afterEach, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { stringify } from "yaml";
import demo from "../../config.json";
import { keepLastGood } from "../../src/config/last-good.ts";
import { LiveConfig } from "../../src/config/live.ts";
import { loadConfig, placed } from "../../src/config/load.ts";
import type { Config } from "../../src/config/schema.ts";
import { treeOf } from "../../src/config/tree.ts";
import { Secrets } from "../../src/records/sealing.ts";
import { type Fault, formatFault, formatPath } from "../../src/schema/faults.ts";
import { openStorage, type Storage } from "../../src/storage/open.ts";
import { hashKey } from "../../src/values/key-format.ts";
import { FakeClock } from "../support/clock.ts";
import { folder } from "../support/process.ts";

const FILE = "config.yaml";
const valid = (text: string, env: Record<string, string> = {}): Config => {
  const loaded = loadConfig(text, env, FILE);
  if ("faults" in loaded) throw new Error(loaded.faults.map((fault) => formatFault(FILE, fault)).join("\n"));
  return loaded.config;
};
const faultsOf = (text: string): string[] => {
  const loaded = loadConfig(text, {}, FILE);
  return "faults" in loaded ? loaded.faults.map((fault) => formatFault("c", fault)) : [];
};

const ROUTES = `# Where things are
server: { port: 8080 }
routes:
  - path: /users   # all of them
    upstream: "http://127.0.0.1:1"
    methods: [GET, POST]
    headers:
      request:
        set:
          X-Text: |
            one line
`;

describe("a configuration in YAML", () => {
  test("is the same as in JSON, and its faults stand where they are", () => {
    expect(valid("server: { port: ${PORT}0 }\n".replace("${PORT}0", "81")).server.port).toBe(81);
    expect(
      valid("routes: []\nconsumers:\n  - { id: a, tier: pro, keys: ['${KEY}'] }\n", { KEY: "a-key-from-outside-0123" }).consumers[0]?.keys,
    ).toEqual(["a-key-from-outside-0123"]);
    expect(faultsOf(ROUTES)).toEqual([expect.stringContaining("c:10:19 routes[0].headers.request.set.X-Text: must be a header's value")]);
    expect(
      faultsOf(`${ROUTES.slice(0, ROUTES.indexOf("    headers:"))}    retries: 3\n  - path: users\n    upstream: http://127.0.0.1:1\n`),
    ).toEqual(['c:7:5 routes[0].retries: unknown field "retries", did you mean "retry"?', 'c:8:11 routes[1].path: must begin with "/"']);
    expect(faultsOf("consumers:\n  - id: a\n    tier: pro\n    keys: ['${NONE}']\n")).toEqual([
      "c:4:12 consumers[0].keys[0]: the environment variable NONE is not set",
    ]);
  });

  test("takes YAML 1.2: no is a text, 010 is ten, and names are texts", () => {
    expect(faultsOf("demo: no\n")).toEqual(['c:1:7 demo: must be true or false, got "no"']);
    expect(valid("server: { port: 010 }\n").server.port).toBe(10);
    expect(faultsOf("404: x\n")).toEqual(['c:1:1 ["404"]: unknown field "404"']);
    expect(faultsOf("server:\n  port: .inf\n")).toEqual(["c:2:9 is no number that a configuration can hold"]);
  });

  test.each([
    ["", "c:1:1 the file is empty"],
    ["# only\n", "c:1:1 the file is empty"],
    ["a: 1\n b: 2\n", "c:1:4 this is not YAML: nested mappings"],
    ["server:\n\tport: 1\n", "c:2:1 this is not YAML: lines are indented by spaces, not by tabs"],
    ["server: {}\n---\ndemo: true\n", "c:2:1 a configuration is one document"],
    ["server: !env {}\n", "c:1:9 this is no tag"],
    ["server: {}\nserver: {}\n", "c:2:1 server: stands here twice"],
    ["server: *none\n", "there is no &none before this"],
    ["server: &a { tls: *a }\n", "c:1:19 *a stands within what it names"],
    ["server: &a {}\nadmin:\n  <<: *a\n", "c:3:3 << is not in YAML 1.2"],
    ["[a, b]: c\n", "a field's name must be a text"],
    ["server: [\n", "this is not YAML"],
    ["routes: 'a\n", "this is not YAML"],
    ['{ "server": { "port": "x" } }', "c:1:23 server.port: must be a whole number"],
  ])("%j is told: %s", (text, message) => {
    expect(faultsOf(text).join("\n")).toContain(message);
  });

  test("has no field without a value: a block whose lines are comments would be null, such as everybody for ips", () => {
    const route = "routes:\n  - path: /a\n    upstream: http://h\n    ips:";
    expect(faultsOf(`${route}\n    #  allow: [10.0.0.0/8]\n    auth: none\n`)).toEqual([
      "c:4:9 nothing stands here: write null if that is meant",
    ]);
    expect(faultsOf("{ routes: [], server }\n")).toEqual(["c:1:21 nothing stands here: write null if that is meant"]);
    expect(faultsOf("routes: &none\nconsumers: *none\n")).toEqual(["c:1:14 nothing stands here: write null if that is meant"]);
    for (const meant of ["null", "~", "!!null"]) expect(valid(`${route} ${meant}\n    auth: none\n`).routes[0]?.ips).toBeNull();
    // Who shows such a file finds its secrets.
    expect(treeOf(`${route}\n`, FILE).root).toBeDefined();
  });

  test("may begin with a byte order mark, in JSON as well, and faults stand where editors show them", () => {
    const marked = (text: string, file: string): unknown => {
      const loaded = loadConfig(`\uFEFF${text}`, {}, file);
      return "faults" in loaded ? loaded.faults.map((fault) => formatFault("c", fault)) : loaded.config.server.port;
    };
    for (const [file, right, wrong] of [
      [FILE, "server: { port: 81 }\n", "server: { port: x }\n"],
      ["config.json", '{"server":{ "port": 81 }}', '{"server":{"port":"x" }}'],
    ] as const) {
      expect(marked(right, file)).toBe(81);
      expect(marked(wrong, file)).toEqual([expect.stringContaining(file === FILE ? "c:1:17 server.port" : "c:1:19 server.port")]);
    }
    expect(marked('{"server":{\n"port":"x" }}', "config.json")).toEqual([expect.stringContaining("c:2:8 server.port")]);
    expect(marked("{x", "config.json")).toEqual([expect.stringContaining("c:1:2 ")]);
    expect(placed('\uFEFF{"demo": 1}', [{ path: ["demo"], message: "" }])).toMatchObject([{ line: 1, column: 10 }]);
    expect(marked("", "config.json")).toEqual(["c:1:1 the file is empty"]);
  });

  test("may name a value by an anchor, and what is wrong in it stands at the anchor", () => {
    const text = (limit: string) =>
      `tiers:\n  anonymous:\n    limits: &few\n      - { algorithm: fixed-window, limit: ${limit}, window: 1m }\n  other: { limits: *few }\n`;
    expect(valid(text("5")).tiers.other?.limits).toEqual(valid(text("5")).tiers.anonymous?.limits);
    expect(faultsOf(text("0"))).toEqual([expect.stringMatching(/^c:4:/), expect.stringMatching(/^c:4:/)]);
  });

  test("can't be made huge by a few aliases, or deep by a few brackets", () => {
    const tens = (name: string, inner: string) => `${name}: &${name} [${Array(10).fill(inner).join(", ")}]\n`;
    const laughs = ["b", "c", "d", "e", "f", "g", "h", "i"].reduce(
      (text, name, i, all) => text + tens(name, `*${all[i - 1] ?? "a"}`),
      tens("a", "x"),
    );
    expect(faultsOf(laughs)).toEqual([expect.stringContaining("aliases stand for more than 100000 values")]);
    for (const depth of [200, 20_000]) expect(faultsOf(`server: ${"[".repeat(depth)}${"]".repeat(depth)}`)).toHaveLength(1);
  });

  test("has the same faults as the same content in JSON", () => {
    const base = JSON.stringify({ ...demo, upstreams: { u: { targets: [{ url: "http://h" }] } } });
    const places = (value: unknown, path: (string | number)[] = []): (string | number)[][] =>
      typeof value === "object" && value !== null
        ? [path, ...Object.entries(value).flatMap(([key, child]) => places(child, [...path, Array.isArray(value) ? Number(key) : key]))]
        : [path];
    const said = (text: string, file: string): string[] => {
      const loaded = loadConfig(text, {}, file);
      if (!("faults" in loaded)) return [];
      for (const { line, column } of loaded.faults) expect([line, column]).toEqual([expect.any(Number), expect.any(Number)]);
      return loaded.faults.map(({ path, message }) => `${formatPath(path)}: ${message}`).sort();
    };
    fc.assert(
      fc.property(
        fc.constantFrom(...places(JSON.parse(base)).slice(1)),
        fc.jsonValue({ maxDepth: 2 }),
        fc.boolean(),
        (path, value, asNew) => {
          const config = JSON.parse(base);
          let here = config;
          for (const step of path.slice(0, -1)) here = here[step];
          const last = path.at(-1) ?? "";
          here[asNew && typeof last === "string" ? `${last}X` : last] = value;
          expect(said(stringify(config), FILE)).toEqual(said(JSON.stringify(config, null, 2), "config.json"));
        },
      ),
      { numRuns: 40 },
    );
  });

  test("cut off anywhere, or with a character changed, never throws", () => {
    const text = stringify({ routes: demo.routes, consumers: demo.consumers });
    fc.assert(
      fc.property(
        fc.nat(text.length - 1),
        fc.constantFrom("", "{", "}", "]", '"', "'", ":", "&a", "*a ", "!", "- ", "\t", "|", "${"),
        (at, given) => {
          loadConfig(text.slice(0, at) + given + text.slice(at + 1), {}, FILE);
          placed(text.slice(0, at), [{ path: ["routes", 0, "path"], message: "" } satisfies Fault]);
        },
      ),
      { numRuns: 60 },
    );
  });
});

test("a file of YAML is read anew while the gateway runs, and one with faults is told where", async () => {
  using home = folder();
  const file = join(home.path, "config.yaml");
  const write = (port: string): void => writeFileSync(file, `server:\n  port: ${port}\n`);
  write("8080");
  const deps = { file, env: {}, clock: new FakeClock(0), emit: () => {}, host: "127.0.0.1", faults: [] };
  const live = new LiveConfig({ ...deps, others: { isChanged: () => false, look: () => {} } });
  const ports: number[] = [];
  live.start(async ({ server }) => {
    ports.push(server.port);
    return [];
  });
  write("8081");
  expect(await live.reload("admin")).toEqual([]);
  write("[");
  expect((await live.reload("admin")).map((fault) => formatFault(FILE, fault))).toEqual([
    expect.stringMatching(/^config\.yaml:\d:\d+ this is not YAML/),
  ]);
  write("x");
  expect((await live.reload("admin")).map((fault) => formatFault(FILE, fault))).toEqual([
    'config.yaml:2:9 server.port: must be a whole number, got "x"',
  ]);
  live.close();
  expect(ports).toEqual([8081]);
});

describe("the last good configuration", () => {
  let storage: Storage | null = null;
  afterEach(() => storage?.close());

  test("is kept as YAML without its keys, and read as YAML", () => {
    storage = openStorage(":memory:");
    const text =
      "consumers:\n  - id: a\n    tier: pro\n    keys:\n      - &k a-plain-key-0123456789\n      - |\n        never\n      - 'a-quoted-key-0123456789'\n  - { id: b, tier: pro, keys: [{ key: a-key-in-an-object-01 }], metadata: { same: *k } }\n";
    keepLastGood(storage, text, 0, new Secrets(undefined, undefined));
    const kept = storage.client.query<{ text: string }, []>("SELECT text FROM configurations WHERE id = 1").get()?.text ?? "";
    for (const key of ["a-plain-key-0123456789", "a-quoted-key-0123456789", "a-key-in-an-object-01"]) {
      expect(kept).not.toContain(key);
      expect(kept).toContain(`"sha256:${hashKey(key)}"`);
    }
    const loaded = loadConfig(kept, {});
    expect("faults" in loaded ? loaded.faults : loaded.config.consumers.map(({ id }) => id)).toEqual(["a", "b"]);
  });
});

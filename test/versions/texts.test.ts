import { describe, expect, test } from "bun:test";
import { Type } from "@sinclair/typebox";
import fc from "fast-check";
import { Config } from "../../src/config/schema.ts";
import { treeOf } from "../../src/config/tree.ts";
import { PoolConfig } from "../../src/pools/settings.ts";
import { withDefaults } from "../../src/schema/defaults.ts";
import { minimal } from "../../src/schema/minimal.ts";
import { isSecretAt } from "../../src/schema/secrets.ts";
import { fieldChanges } from "../../src/versions/document-diff.ts";
import { maskedText, masksInText, unmaskedText, variablesIn } from "../../src/versions/file-text.ts";
import { KEPT, withNames, withSecrets } from "../../src/versions/kept-secrets.ts";
import { lineDiff } from "../../src/versions/line-diff.ts";
import { noteIn } from "../../src/versions/note.ts";

/** Applies a unified diff to the text that it was made from. */
function patched(before: string, diff: string): string {
  const lines = before.split("\n").slice(0, -1);
  const out: string[] = [];
  let at = 0;
  for (const line of diff.split("\n").slice(0, -1)) {
    const hunk = /^@@ -(\d+),(\d+) /.exec(line);
    if (hunk !== null) {
      const start = Number(hunk[1]) - (hunk[2] === "0" ? 0 : 1);
      out.push(...lines.slice(at, start));
      at = start;
    } else if (line.startsWith("+")) out.push(line.slice(1));
    else {
      expect(lines[at]).toBe(line.slice(1));
      if (line.startsWith(" ")) out.push(line.slice(1));
      at++;
    }
  }
  return [...out, ...lines.slice(at)].map((line) => `${line}\n`).join("");
}

test("a difference of texts makes of the one text the other", () => {
  const text = fc
    .array(fc.constantFrom("a", "b", "c", "d", ""), { maxLength: 30 })
    .map((lines) => lines.map((line) => `${line}\n`).join(""));
  fc.assert(fc.property(text, text, (before, after) => expect(patched(before, lineDiff(before, after))).toBe(after)));
});

describe("a text of the configuration file", () => {
  const text = `{
  // Comments stay.
  "pools": { "openai": { "keys": [{ "id": "k1", "secret": "sk-in-the-clear" }, { "id": "k2", "secret": "\${KEY}" }] } },
  "redis": { "url": "redis://me:pass@10.0.0.1:6379" },
  "routes": [{ "path": "/\${PLACE}", "upstream": "$\${NOT}" }]
}`;

  test("is shown without the secrets that stand in it in the clear", () => {
    const shown = maskedText(text);
    expect(shown).toBe(text.replace("sk-in-the-clear", "***").replace("me:pass@", "***@"));
    expect(
      masksInText(shown)
        .map((path) => path.join("."))
        .sort(),
    ).toEqual(["pools.openai.keys.0.secret", "redis.url"]);
  });

  test("has its secrets back when it is sent back, also where entries have moved", () => {
    const shown = maskedText(text);
    expect(unmaskedText(shown, text)).toBe(text);
    const moved = shown.replace(
      '{ "id": "k1", "secret": "***" }, { "id": "k2", "secret": "${KEY}" }',
      '{ "id": "k3", "secret": "${KEY}" }, { "id": "k1", "secret": "***" }',
    );
    expect(unmaskedText(moved, text)).toContain('{ "id": "k1", "secret": "sk-in-the-clear" }');
    // Of an entry that was not there nothing is known.
    expect(masksInText(unmaskedText(shown.replace('"k1"', '"k9"'), text))).toEqual([["pools", "openai", "keys", 0, "secret"]]);
  });

  test("tells which variables it takes", () => {
    expect([...variablesIn(text)].sort()).toEqual(["KEY", "PLACE"]);
  });
});

describe("a text in YAML", () => {
  const text = `# Comments stay.
pools:
  openai:
    keys:
      - { id: k1, secret: sk-in-the-clear }
      - id: k2
        secret: \${KEY}
      - id: k3
        secret: |
          in a block
        limit: 5
redis: { url: "redis://me:pass@10.0.0.1:6379" }
issuers:
  a: &one { secret: hunter2-hunter2 }
  b: *one
routes: [{ path: "/\${PLACE}" }]
`;

  test("is shown without its secrets, and has them back when it is sent back", () => {
    const shown = maskedText(text);
    expect(shown).toBe(
      text
        .replace("sk-in-the-clear", '"***"')
        .replace("|\n          in a block", '"***"')
        .replace("me:pass@", "***@")
        .replace("hunter2-hunter2", '"***"'),
    );
    const back = unmaskedText(shown, text);
    expect(treeOf(back, "config.yaml").fault).toBeNull();
    expect(masksInText(back)).toEqual([]);
    expect(back).toContain('secret: "in a block\\n"\n        limit: 5');
    expect([...variablesIn(text)].sort()).toEqual(["KEY", "PLACE"]);
  });
});

describe("a text with faults shows no secret", () => {
  const pool = "pools: { llm: { keys: [{ id: k1, secret: hunter2-hunter2 }] } }\n";
  const json = '{ "issuers": { "main": { "secret": "hunter2-hunter2" } } }';
  test.each<[string, string]>([
    ["an alias of nothing", `${pool}x: *nope\n`],
    ["a merge", `base: &b { a: 1 }\nroutes: [{ <<: *b }]\n${pool}`],
    ["no number", `${pool}server: { port: .nan }\n`],
    ["a name that is no text", `${pool}? [a, b]\n: c\n`],
    ["a block", `routes: *nope\nissuers:\n  main:\n    secret: |\n      hunter2-hunter2\n      url: hunter2\n`],
    [
      "a section that was not closed",
      `{ "routes": [{ "path": "/" }, "pools": { "llm": { "keys": [{ "id": "k1", "secret": "hunter2-hunter2" }] } } }`,
    ],
    ["lines of JSON", `{\n  "routes": [,\n  "redis": {\n    "url": "redis://me:hunter2@10.0.0.1"\n  }\n}`],
    ["a quote that was not closed", `{ "server": { "host": "x }, \n"issuers": { "main": {\n "secret": "hunter2-hunter2" } } }`],
    ["a name that stands twice", `${json.slice(0, -1)}, "issuers": { "main": { "secret": "hunter2-other", "secret": "hunter2-third" } } }`],
    ["a misspelt section", json.replace("issuers", "isuers")],
    ["a misspelt name", json.replace('"secret"', '"secrte"')],
    ["an object in a secret's place", json.replace('"hunter2-hunter2"', '{ "a": ["hunter2-hunter2"] }')],
    ["a list in an object's place", json.replace('{ "main"', '[{ "main"').replace("} } }", "} }] }")],
    ["a number", "issuers: { main: { secret: 4242424242424242 } }"],
    ["a URL with a slash in its password", "redis: { url: 'redis://me:hun/ter2-hunter2@10.0.0.1' }"],
  ])("%s", (_, text) => {
    const shown = maskedText(text);
    expect(shown).not.toMatch(/hun\/?ter2|4242/);
    expect(shown).toContain("***");
    expect(shown.split("\n").length).toBe(text.split("\n").length);
  });

  test("but the lines at which it stands, by the names that all configurations have", () => {
    expect(maskedText('{\n  "server": {\n    "port": 80\n  },\n  "pools": { "openai"\n  // x\n  "routes": [\n')).toBe(
      '{\n  "server": {\n    "port": "***"\n  },\n  "pools": "***"\n  "***"\n  "routes": [\n',
    );
  });

  test("and is not taken back with masks in any place", () => {
    expect(masksInText('{ "routes": [{ "path": "***" }] }')).toEqual([["routes", 0, "path"]]);
  });
});

test("in a text without faults nothing but secrets is masked", async () => {
  const pages = [...new Bun.Glob("**/*.md").scanSync({ cwd: `${import.meta.dir}/../../docs`, absolute: true })];
  const texts = (await Promise.all(pages.map((page) => Bun.file(page).text()))).flatMap((page) =>
    [...page.matchAll(/```jsonc config\.json\n(.*?)```/gs)].map(([, text]) => text ?? ""),
  );
  expect(texts.length).toBeGreaterThan(10);
  for (const text of texts) {
    expect(treeOf(text, null).fault).toBeNull();
    expect(masksInText(maskedText(text)).filter((path) => !isSecretAt(Config, path))).toEqual([]);
  }
});

test("a dump names secrets by their ids, and what has the names gets them back", () => {
  const pool = {
    keys: [
      { id: "k1", secret: "one" },
      { id: "k2", secret: "two" },
    ],
  };
  const known = new Map<string, string>();
  const named = withNames(PoolConfig, pool, "pools.openai", (name, secret) => known.set(name, secret));
  expect(named).toEqual({
    keys: [
      { id: "k1", secret: { [KEPT]: "pools.openai.k1" } },
      { id: "k2", secret: { [KEPT]: "pools.openai.k2" } },
    ],
  });
  expect(
    withSecrets(
      named,
      (name) => known.get(name),
      () => {},
    ),
  ).toEqual(pool);
  const lacking: string[] = [];
  withSecrets(
    named,
    () => undefined,
    (path, name) => lacking.push(`${path.join(".")} ${name}`),
  );
  expect(lacking).toEqual(["keys.0.secret pools.openai.k1", "keys.1.secret pools.openai.k2"]);
});

test("what defaults say anyway is left out, and nothing else", () => {
  const schema = Type.Object({
    a: Type.String({ default: "x" }),
    b: Type.Object({ c: Type.Integer({ default: 1 }), d: Type.Integer() }),
    e: Type.Union([Type.Object({ f: Type.Boolean({ default: true }) }), Type.Null()], { default: null }),
  });
  expect(minimal(schema, { a: "x", b: { c: 1, d: 2 }, e: null })).toEqual({ b: { d: 2 } });
  fc.assert(
    fc.property(
      fc.record({
        a: fc.constantFrom("x", "y"),
        b: fc.record({ c: fc.constantFrom(1, 2), d: fc.integer() }),
        e: fc.option(fc.record({ f: fc.boolean() })),
      }),
      (value) => expect(withDefaults(schema, minimal(schema, value))).toEqual(value),
    ),
  );
});

test("documents differ field by field, and a secret shows only that it is another one", () => {
  const seen = (secret: string, limit: number) => ({ value: { limit, key: { secret } }, shown: { limit, key: { secret: "***" } } });
  expect(fieldChanges(seen("a", 1), seen("b", 1))).toEqual([{ path: "key.secret", before: "***", after: "***" }]);
  expect(fieldChanges(seen("a", 1), seen("a", 2))).toEqual([{ path: "limit", before: 1, after: 2 }]);
  expect(fieldChanges(seen("a", 1), seen("a", 1))).toEqual([]);
});

test.each([
  [null, null],
  ["", null],
  ["for black friday", "for black friday"],
  ["f%C3%BCr morgen", "für morgen"],
  ["50% more", "50% more"],
])("a note %p in a header is %p", (header, note) => {
  expect(noteIn(header)).toBe(note);
});

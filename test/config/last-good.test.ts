import { expect, test } from "bun:test";
import { join } from "node:path";
import { keepLastGood, lastGood } from "../../src/config/last-good.ts";
import { Secrets } from "../../src/records/sealing.ts";
import { openStorage } from "../../src/storage/open.ts";
import { folder } from "../support/process.ts";

const issuer = (more: object) => ({ issuers: { main: { issuer: "https://id.example.com", ...more } } });

test.each<[string, (secret: string) => object]>([
  ["a pool hands out", (secret) => ({ pools: { llm: { keys: [{ id: "one", secret, limit: 1, window: "1m" }] } } })],
  ["signs an issuer's tokens", (secret) => issuer({ secret })],
  [
    "shows an issuer who asks",
    (clientSecret) => issuer({ introspection: { endpoint: "https://id.example.com/introspect", clientId: "sluice", clientSecret } }),
  ],
  ["signs events", (secret) => ({ webhooks: [{ url: "https://hooks.example.com", secret, events: ["*"] }] })],
  ["shows the console to an issuer", (clientSecret) => ({ admin: { clientSecret } })],
  ["opens Redis", (password) => ({ redis: { url: `redis://me:${password}@10.0.0.1:6379` } })],
])("a configuration with a secret that %s is kept in the database sealed, or only if that comes from the environment", (_, configWith) => {
  const storage = openStorage(":memory:");
  const kept = () => storage.client.query<{ text: string }, []>("SELECT text FROM configurations").get();
  const [none, some] = [new Secrets(undefined, undefined), new Secrets("a-secret-for-tests", undefined)];
  const clear = `// a comment\n${JSON.stringify(configWith("a-secret-of-at-least-32-characters"))}`;
  keepLastGood(storage, clear, 0, none);
  expect(kept()).toBeNull();
  keepLastGood(storage, clear, 0, some);
  expect(kept()?.text).toStartWith("sealed:");
  expect(some.openIfSealed(kept()?.text ?? "")).toBe(clear);
  const text = `// a comment\n${JSON.stringify(configWith("${SECRET}"))}`;
  keepLastGood(storage, text, 0, none);
  expect(kept()).toEqual({ text });
  // What an earlier version has kept in the clear does not stay there.
  storage.client.query("UPDATE configurations SET text = ?1").run(clear);
  keepLastGood(storage, clear, 0, none);
  expect(kept()).toBeNull();
  storage.close();
});

test("what was sealed is read again by who has SLUICE_SECRET", () => {
  using home = folder();
  const path = join(home.path, "sluice.db");
  const storage = openStorage(path);
  const text = '{ "redis": { "url": "redis://me:hunter2@10.0.0.1" } }';
  keepLastGood(storage, text, 7, new Secrets("a-secret-for-tests", undefined));
  storage.close();
  expect(lastGood(path, new Secrets("a-secret-for-tests", undefined))).toEqual({ text, at: 7 });
  expect(lastGood(path, new Secrets("another", undefined))).toBeNull();
});

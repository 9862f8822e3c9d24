import { expect, test } from "bun:test";
import { keepLastGood } from "../../src/config/last-good.ts";
import { openStorage } from "../../src/storage/open.ts";

const issuer = (more: object) => ({ issuers: { main: { issuer: "https://id.example.com", ...more } } });

test.each<[string, (secret: string) => object]>([
  ["a pool hands out", (secret) => ({ pools: { llm: { keys: [{ id: "one", secret, limit: 1, window: "1m" }] } } })],
  ["signs an issuer's tokens", (secret) => issuer({ secret })],
  [
    "shows an issuer who asks",
    (clientSecret) => issuer({ introspection: { endpoint: "https://id.example.com/introspect", clientId: "sluice", clientSecret } }),
  ],
])("a configuration with a secret that %s is kept in the database only if that comes from the environment", (_, configWith) => {
  const storage = openStorage(":memory:");
  const kept = (): unknown => storage.client.query("SELECT text FROM configurations").get();
  keepLastGood(storage, `// a comment\n${JSON.stringify(configWith("a-secret-of-at-least-32-characters"))}`, 0);
  expect(kept()).toBeNull();
  const text = `// a comment\n${JSON.stringify(configWith("${SECRET}"))}`;
  keepLastGood(storage, text, 0);
  expect(kept()).toEqual({ text });
  storage.close();
});

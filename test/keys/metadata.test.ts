import { expect, test } from "bun:test";
import { KnownMetadata } from "../../src/keys/metadata.ts";
import { type KeyEntry, KeyRegistry } from "../../src/keys/registry.ts";

// Nobody asks for more of a key than this.
const keyOf = (id: string) => ({ via: "key", id, consumer: { id: "acme" } }) as KeyEntry;

test("the database is asked once for what is kept with a key, also where nothing is", () => {
  const registry = new KeyRegistry(
    () => ({ limits: [], quota: [] }),
    () => "anonymous",
  );
  const asked: string[] = [];
  const known = new KnownMetadata({
    registry,
    ofKey: (id) => {
      asked.push(id);
      return id === "gold" ? { plan: "gold" } : null;
    },
    ofConsumer: () => null,
  });
  const [gold, bare] = [keyOf("gold"), keyOf("bare")];
  for (let i = 0; i < 3; i++) expect([known.of(gold), known.of(bare)]).toEqual([{ plan: "gold" }, null]);
  expect(asked).toEqual(["gold", "bare"]);
  // Its consumer's may be others now.
  registry.invalidate();
  expect(known.of(bare)).toBeNull();
  expect(asked).toEqual(["gold", "bare", "bare"]);
});

test("a key that its holder made has what is kept with the key it was made from, unless it has something of its own", () => {
  const kept: Readonly<Record<string, Record<string, unknown>>> = { origin: { plan: "gold" }, own: { plan: "mine" } };
  const known = new KnownMetadata({
    registry: new KeyRegistry(
      () => ({ limits: [], quota: [] }),
      () => "anonymous",
    ),
    ofKey: (id) => kept[id] ?? null,
    ofConsumer: () => ({ plan: "consumer" }),
  });
  const made = (id: string, countedAs: string) => ({ ...keyOf(id), countedAs }) as KeyEntry;
  expect([made("child", "origin"), made("own", "origin"), made("child", "bare"), keyOf("bare")].map((key) => known.of(key))).toEqual([
    { plan: "gold" },
    { plan: "mine" },
    { plan: "consumer" },
    { plan: "consumer" },
  ]);
});

// How keys that expire are found among many: bit by bit, none left out and none twice.
import { expect, test } from "bun:test";
import { openStorage } from "../../src/storage/open.ts";
import { Deliveries } from "../../src/webhooks/deliveries.ts";
import { WebhookEvents } from "../../src/webhooks/events.ts";
import { KeyWatch } from "../../src/webhooks/watches.ts";
import { FakeClock } from "../support/clock.ts";

const DAY = 86_400_000;
const KEYS = 5600;

/** A watch over a real database, which a webhook follows. */
function watching() {
  const storage = openStorage(":memory:");
  const clock = new FakeClock();
  const deliveries = new Deliveries(storage);
  const hook = { name: "a", url: "", secret: "", events: ["key.expiring"], enabled: true, isFromApi: false };
  const events = new WebhookEvents({
    ...{ deliveries, clock, instance: "here", webhooks: () => [hook], count: () => {}, emit: () => {} },
  });
  const watch = new KeyWatch({ storage, clock, events, declared: () => [] });
  const insert = storage.client.query(
    `INSERT INTO keys (id, hash, start, "end", consumer, enabled, expires_at, version, created_at, updated_at) VALUES (?1, ?1, 's', 'e', 'acme', 1, ?2, 1, 0, 0)`,
  );
  return {
    ...{ clock, deliveries },
    make: (id: string, expiresAt: number) => void insert.run(id, expiresAt),
    /** Looks once a second for some minutes, and gives how many were told meanwhile at each. */
    look: (minutes: number): number[] =>
      Array.from({ length: minutes * 60 }, () => {
        const before = deliveries.waiting("a");
        watch.look();
        clock.advance(1000);
        return deliveries.waiting("a") - before;
      }),
    [Symbol.dispose]: () => storage.close(),
  };
}

test.each(["at one time", "each at another time"])("keys that expire %s are told of a few at a time, each once", (when) => {
  using way = watching();
  const { clock, deliveries } = way;
  const at = clock.wall() + 3 * DAY;
  deliveries.atOnce(() => {
    for (let i = 0; i < KEYS; i++) way.make(`key_${i}`, when === "at one time" ? at : at + i);
  });
  const told = way.look(1);
  expect(Math.max(...told)).toBe(200);
  expect(deliveries.waiting("a")).toBe(KEYS);
  // One that is made later is found among those of which is told, in the next round.
  way.make("key_late", at);
  way.look(2);
  expect(deliveries.waiting("a")).toBe(KEYS + 1);
  const [last] = deliveries.page("a", null, Number.MAX_SAFE_INTEGER, 1);
  expect(JSON.parse(last?.body ?? "")).toMatchObject({ data: { key: "key_late", within: "7d" } });
  clock.advance(2 * DAY);
  way.look(1);
  expect(deliveries.waiting("a")).toBe(2 * (KEYS + 1));
});

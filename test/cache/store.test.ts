import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { CacheStore, type Entry } from "../../src/cache/store.ts";

const entry = (size: number, varied: string[] = []): Entry => ({
  vary: varied.map((_, i) => `x-${i}`),
  varied,
  status: 200,
  reason: "OK",
  lines: "",
  head: "",
  notModifiedHead: "",
  body: new Uint8Array(size),
  length: size,
  etag: null,
  lastModified: null,
  date: null,
  freshness: { directives: {} as Entry["freshness"]["directives"], isStated: true, initialAge: 0, lifetime: 1 },
  arrivedAt: 0,
});
const none = () => "";

describe("the store of kept responses", () => {
  test("never takes more than its bytes; the least recently used goes first", () => {
    const store = new CacheStore(10_000);
    for (const key of ["a", "b", "c"]) store.put(key, "r", `/${key}`, entry(2000));
    expect(store.find("a", none)).not.toBeNull();
    store.put("d", "r", "/d", entry(2000));
    expect(["a", "b", "c", "d"].map((key) => store.find(key, none) !== null)).toEqual([true, false, true, true]);
    store.put("huge", "r", "/huge", entry(20_000));
    expect(store.find("huge", none)).toBeNull();
    store.resize(3000);
    expect(store.stats.entries).toBe(1);
  });

  test("agrees with a plain list of what was used last, and knows its size, whatever is done to it", () => {
    const act = fc.record({
      what: fc.constantFrom("put", "find", "remove", "purge"),
      key: fc.constantFrom(..."abcdefgh"),
      size: fc.integer({ min: 1, max: 3000 }),
    });
    fc.assert(
      fc.property(fc.array(act, { maxLength: 200 }), (acts) => {
        const most = 12_000;
        const store = new CacheStore(most);
        let model: { key: string; size: number }[] = [];
        const total = () => model.reduce((sum, { size }) => sum + size, 0);
        for (const { what, key, size } of acts) {
          const known = model.find((each) => each.key === key);
          if (what === "put") {
            store.put(key, "r", `/${key}`, entry(size));
            model = [...model.filter((each) => each.key !== key), { key, size: size + 512 + 2 }];
            while (total() > most) model.shift();
          } else if (what === "find") {
            expect(store.find(key, none) !== null).toBe(known !== undefined);
            if (known !== undefined) model = [...model.filter((each) => each !== known), known];
          } else if (what === "remove") {
            expect(store.removeAll(key)).toBe(known === undefined ? 0 : 1);
            model = model.filter((each) => each.key !== key);
          } else {
            store.purge((_route, path) => path === `/${key}`);
            model = model.filter((each) => each.key !== key);
          }
          expect([store.stats.entries, store.stats.size]).toEqual([model.length, total()]);
        }
      }),
    );
  });

  test("keeps a bounded number of representations of one URI", () => {
    const store = new CacheStore(1e9);
    for (let i = 0; i < 200; i++) store.put("a", "r", "/a", entry(10, [String(i)]));
    expect(store.stats.entries).toBe(64);
    expect(store.find("a", () => "199")).not.toBeNull();
    expect(store.find("a", () => "0")).toBeNull();
  });
});

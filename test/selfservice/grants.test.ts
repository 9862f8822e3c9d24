import { expect, test } from "bun:test";
import fc from "fast-check";
import { Audit } from "../../src/audit/audit.ts";
import { Refused } from "../../src/http/refused.ts";
import { Keys } from "../../src/keys/keys.ts";
import { narrowed } from "../../src/keys/narrowed.ts";
import { type KeyEntry, KeyRegistry } from "../../src/keys/registry.ts";
import { cidrsOf, StoredRecords } from "../../src/keys/stored.ts";
import type { LimitConfig } from "../../src/limits/settings.ts";
import { type Holder, holderOf, OwnKeys, type WantedKey } from "../../src/selfservice/own-keys.ts";
import { aloneBus } from "../../src/shared/bus.ts";
import { openStorage } from "../../src/storage/open.ts";
import { namesOf } from "../../src/values/name-patterns.ts";
import { FakeClock } from "../support/clock.ts";

const HOUR = 3_600_000;
const CONSUMER = { id: "acme", tier: "pro" };
const SCOPES = ["read", "write", "pay"];
const ROUTES = ["shop", "books", "till"];
const NETWORKS = ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "192.0.2.0/24"];
const MODELS = ["gpt-*", "gpt-5*", "*-mini", "gpt-5-mini", "claude-4"];
const NAMED_MODELS = ["gpt-4", "gpt-5", "gpt-5-mini", "o1-mini", "claude-4", "llama"];
const OWN_LIMIT: LimitConfig[] = [{ algorithm: "fixed-window", limit: 5, window: "1m" }];

const some = (list: readonly string[]) => fc.subarray([...list]);
const someOrAll = (list: readonly string[]) =>
  fc.oneof({ weight: 2, arbitrary: fc.constant<string[]>([]) }, { weight: 1, arbitrary: some(list) });
const hoursAhead = fc.option(fc.integer({ min: 1, max: 40 }), { nil: undefined });
const rights = fc.record({
  scopes: some(SCOPES),
  routes: someOrAll(ROUTES),
  ips: someOrAll(NETWORKS),
  models: someOrAll(MODELS),
  hours: hoursAhead,
});
const wish = fc.record(
  { scopes: some(SCOPES), routes: some(ROUTES), ips: some(NETWORKS), models: some(MODELS), hours: fc.integer({ min: -2, max: 50 }) },
  { requiredKeys: [] },
);
/** A number picks one of those that there are. */
const pick = fc.nat({ max: 30 });

const act = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      what: fc.constant("make" as const),
      by: fc.option(pick),
      from: fc.option(pick),
      wish: fc.oneof(fc.constant({}), wish),
    }),
  },
  { weight: 2, arbitrary: fc.record({ what: fc.constant("rotate" as const), by: fc.option(pick), key: pick }) },
  { weight: 2, arbitrary: fc.record({ what: fc.constant("revokeOwn" as const), by: fc.option(pick), key: pick }) },
  { weight: 2, arbitrary: fc.record({ what: fc.constant("narrow" as const), key: pick, rights, limited: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("operatorRevokes" as const), key: pick }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("turn" as const), key: pick, on: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ what: fc.constant("wait" as const), hours: fc.integer({ min: 1, max: 12 }) }) },
);

const tierRules = fc.record({
  rotate: fc.constant(true),
  keys: fc.constantFrom(0, 3, 8, 8),
  scopes: some(SCOPES),
  routes: some(ROUTES),
});

function setUp() {
  const clock = new FakeClock();
  const storage = openStorage(":memory:");
  const audit = new Audit({ storage, clock });
  const stored = new StoredRecords(storage.client);
  const fail = (error: unknown) => {
    throw error;
  };
  const registry = new KeyRegistry(
    () => ({ limits: [], quota: [] }),
    () => "anonymous",
    stored,
    fail,
  );
  registry.declareConsumer({ ...CONSUMER, enabled: true, limits: null, quota: null, models: null });
  const keys = new Keys({ storage, clock, audit, registry, stored, bus: aloneBus(), onFault: fail });
  keys.load();
  return { clock, keys, registry, storage };
}

const timeIn = (clock: FakeClock, hours: number): string => new Date(clock.wall() + hours * HOUR).toISOString();
const subset = (inner: readonly string[], outer: readonly string[]): boolean => inner.every((each) => outer.includes(each));

/** Tells whether a key can do no more, and is good no longer, than another. */
const isWithin = (key: KeyEntry, other: KeyEntry): boolean =>
  subset(key.scopes, other.scopes) &&
  (other.routes.length === 0 || (key.routes.length > 0 && subset(key.routes, other.routes))) &&
  (other.ips === null || key.ips?.list.every((ip) => other.ips?.covers(ip)) === true) &&
  NAMED_MODELS.every((name) => other.models?.has(name) !== false || key.models?.has(name) === false) &&
  key.expiresAt <= other.expiresAt &&
  Bun.deepEquals(key.limits, other.limits) &&
  Bun.deepEquals(key.quota, other.quota) &&
  (key.countedAs ?? key.id) === other.id;

const keyOf =
  (id: string, madeFrom: string | null) =>
  (given: { scopes: string[]; routes: string[]; ips: string[]; models: string[]; hours: number | undefined }) => {
    const { scopes, routes, ips, models, hours = Number.POSITIVE_INFINITY } = given;
    const key = {
      id,
      madeFrom,
      consumer: CONSUMER,
      scopes,
      routes,
      ips: cidrsOf(ips),
      models: namesOf(models),
      expiresAt: hours,
      limits: null,
      quota: null,
      off: null,
    };
    // Only what decides about rights is looked at.
    return key as unknown as KeyEntry;
  };

test("a key that was made from another does what both may do, and no more", () => {
  const allows = (key: KeyEntry, scope: string, route: string, ip: string, model: string, at: number): boolean =>
    key.off === null &&
    key.scopes.includes(scope) &&
    (key.routes.length === 0 || key.routes.includes(route)) &&
    (key.ips?.has(ip) ?? true) &&
    (key.models?.has(model) ?? true) &&
    at < key.expiresAt;
  fc.assert(
    fc.property(
      rights.map(keyOf("key_2", "key_1")),
      rights.map(keyOf("key_1", null)),
      fc.constantFrom(...SCOPES),
      fc.constantFrom(...ROUTES),
      fc.constantFrom("10.1.2.3", "10.1.9.9", "10.7.7.7", "192.0.2.1", "203.0.113.1"),
      fc.constantFrom(...NAMED_MODELS),
      fc.nat({ max: 41 }),
      (key, from, scope, route, ip, model, at) => {
        const both = allows(key, scope, route, ip, model, at) && allows(from, scope, route, ip, model, at);
        expect(allows(narrowed(key, from), scope, route, ip, model, at)).toBe(both);
        expect(narrowed(key, null).off).toBe("revoked");
      },
    ),
    { numRuns: 2000 },
  );
});

test("no acts of consumers ever give a key that can do more, or is good longer, than one that an operator gave, and its tier allows", () => {
  let goodMade = 0;
  fc.assert(
    fc.property(fc.array(rights, { minLength: 1, maxLength: 2 }), tierRules, fc.array(act, { maxLength: 25 }), (given, rules, acts) => {
      const { clock, keys, registry, storage } = setUp();
      const own = new OwnKeys({ keys, registry, clock, rulesOf: () => rules });
      /** Secrets that somebody holds, with what the tier allowed when they were made; and who could do what with which key. */
      const secrets: { id: string; secret: string; isOwn: boolean }[] = [];
      const operator = given.map(({ hours, ...each }) => {
        const { record, secret } = keys.create({
          consumer: CONSUMER.id,
          ...each,
          ...(hours === undefined ? {} : { expiresAt: timeIn(clock, hours) }),
        });
        secrets.push({ id: record.id, secret: secret ?? "", isOwn: false });
        return record.id;
      });
      const one = <T>(list: readonly T[], at: number): T => list[at % list.length] as T;
      const holder = (by: number | null): Holder | null => {
        if (by === null) return { consumer: CONSUMER, key: null, hash: null };
        const { secret } = one(secrets, by);
        const shown = registry.find(secret, clock.wall());
        return typeof shown === "string" ? null : holderOf(shown, secret);
      };
      const attempt = (work: () => void): void => {
        try {
          work();
        } catch (error) {
          if (!(error instanceof Refused)) throw error;
        }
      };
      /** Notes what a holder got, which must not be more than what they have shown. */
      const got = (by: Holder, { record, secret }: { record: { id: string; madeFrom: string | null }; secret: string }): void => {
        // Nor is anything to be had for a secret that its key has no more.
        expect(by.key === null || by.key === record.id || by.hash === registry.byId(by.key)?.hash).toBe(true);
        secrets.push({ id: record.id, secret, isOwn: record.madeFrom !== null });
        const shown = by.key === null ? null : registry.byId(by.key);
        const now = registry.byId(record.id);
        if (shown !== null && now !== null && shown.id !== now.id) expect(isWithin(now, shown)).toBe(true);
      };
      for (const each of acts) {
        if (each.what === "wait") clock.advance(each.hours * HOUR);
        else if (each.what === "make" || each.what === "rotate" || each.what === "revokeOwn") {
          const by = holder(each.by);
          if (by === null) continue;
          if (each.what === "make") {
            const { hours, ...rest }: { hours?: number } & WantedKey = each.wish;
            const wanted: WantedKey = {
              ...rest,
              ...(each.from === null ? {} : { from: one(secrets, each.from).id }),
              ...(hours === undefined ? {} : { expiresAt: timeIn(clock, hours) }),
            };
            attempt(() => {
              const before = keys.standingOf(CONSUMER.id).length;
              const made = own.make(by, wanted);
              expect(before).toBeLessThan(rules.keys);
              expect(subset(made.record.scopes, rules.scopes)).toBe(true);
              if (rules.routes.length > 0) expect(made.record.routes.length > 0 && subset(made.record.routes, rules.routes)).toBe(true);
              got(by, made);
            });
          } else if (each.what === "rotate") attempt(() => got(by, own.rotate(by, one(secrets, each.key).id)));
          else {
            const { id, isOwn } = one(secrets, each.key);
            attempt(() => {
              own.revoke(by, id);
              expect(isOwn).toBe(true);
            });
          }
        } else {
          const id = one(operator, each.key);
          if (each.what === "operatorRevokes") keys.revoke(id, null);
          else if (each.what === "turn") attempt(() => keys.patch(id, { enabled: each.on }, null));
          else {
            const { hours, ...rest } = each.rights;
            const expiresAt = hours === undefined ? null : timeIn(clock, hours);
            attempt(() => keys.patch(id, { ...rest, expiresAt, limits: each.limited ? OWN_LIMIT : null }, null));
          }
        }
        const now = clock.wall();
        const theirs = operator.map((id) => registry.byId(id)).filter((key) => key !== null && key.off === null && key.expiresAt > now);
        for (const { secret, isOwn } of secrets) {
          const found = registry.find(secret, now);
          if (typeof found === "string") continue;
          if (isOwn) goodMade++;
          expect(theirs.some((key) => key !== null && isWithin(found, key))).toBe(true);
        }
      }
      storage.close();
    }),
    { numRuns: 40 },
  );
  expect(goodMade).toBeGreaterThan(10);
});

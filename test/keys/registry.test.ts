import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Audit } from "../../src/audit/audit.ts";
import { loadConfig } from "../../src/config/load.ts";
import { Consumers } from "../../src/consumers/consumers.ts";
import { wantedOf } from "../../src/exchange/own-paths.ts";
import { Keys } from "../../src/keys/keys.ts";
import { KeyRegistry } from "../../src/keys/registry.ts";
import { StoredRecords } from "../../src/keys/stored.ts";
import type { LimitConfig } from "../../src/limits/settings.ts";
import { ChangeFeed } from "../../src/records/changes.ts";
import { aloneBus, type Bus } from "../../src/shared/bus.ts";
import { openStorage, type Storage } from "../../src/storage/open.ts";
import { hashKey } from "../../src/values/key-format.ts";
import { FakeClock, START } from "../support/clock.ts";
import { folder } from "../support/process.ts";

const perMinute = (limit: number): LimitConfig[] => [{ algorithm: "fixed-window", limit, window: "1m" }];
const HOUR = 3_600_000;

interface SetUp {
  path?: string;
  config?: object;
  clock?: FakeClock;
  bus?: Bus;
  maxInUse?: number;
}

/** Keys and consumers over a database, with the tiers free (10), pro (100) and anonymous (5). */
function setUp({ path = ":memory:", config = {}, clock = new FakeClock(), bus = aloneBus(), maxInUse = 1000 }: SetUp = {}) {
  const loaded = loadConfig(JSON.stringify({ anonymousTier: "anonymous", ...config }), {});
  if ("faults" in loaded) throw new Error(JSON.stringify(loaded.faults));
  const storage: Storage = openStorage(path);
  const tiers = new Map([
    ["free", perMinute(10)],
    ["pro", perMinute(100)],
    ["anonymous", perMinute(5)],
  ]);
  const stored = new StoredRecords(storage.client);
  const faults: unknown[] = [];
  const registry = new KeyRegistry(
    (tier) => ({ limits: tiers.get(tier) ?? [], quota: [] }),
    () => "anonymous",
    stored,
    (error) => faults.push(error),
    maxInUse,
  );
  const audit = new Audit({ storage, clock });
  const known = () => ({
    tiers: new Set(tiers.keys()),
    upstreams: new Set<string>(),
    pools: new Set<string>(),
    issuers: new Set<string>(),
    wanted: wantedOf({ authz: null, keyVerification: null, selfService: null, server: { tls: null } }, false),
    activities: null,
    hasAdminListener: false,
  });
  const consumers = new Consumers({ storage, clock, audit, registry, known, endSessions: () => {} });
  const keys = new Keys({ storage, clock, audit, registry, stored, bus, onFault: (error) => faults.push(error) });
  keys.load();
  const conflicts = [
    ...loaded.config.consumers.map(({ id }) => id).filter((id) => consumers.isFromApi(id)),
    ...keys.clashes(loaded.config.consumers),
  ];
  consumers.declare(loaded.config.consumers);
  keys.declare(loaded.config.consumers);
  return {
    storage,
    registry,
    consumers,
    keys,
    tiers,
    clock,
    conflicts,
    /** What could not be read. */
    faults,
    /** The id of the key that a secret is, or why it is refused. */
    find: (secret: string) => {
      const found = registry.find(secret, clock.wall());
      return typeof found === "string" ? found : found.id;
    },
    limitOf: (secret: string) => {
      const found = registry.find(secret, clock.wall());
      return typeof found === "string" ? found : registry.policiesFor(found)[0]?.normal.limit;
    },
    make: (input: Omit<Parameters<Keys["create"]>[0], "consumer"> = {}) => {
      const { record, secret } = keys.create({ consumer: "acme", ...input });
      return { id: record.id, secret: secret ?? "" };
    },
    [Symbol.dispose]: () => storage.close(),
  };
}

function withAcme(options: Parameters<typeof setUp>[0] = {}) {
  const it = setUp(options);
  it.consumers.create({ id: "acme", tier: "free" });
  return it;
}

describe("a secret", () => {
  test("identifies its key, and no other text does", () => {
    using it = withAcme();
    const { id, secret } = it.make();
    expect(it.find(secret)).toBe(id);
    fc.assert(fc.property(fc.string({ maxLength: 600 }), (text) => ["keyInvalid", "keyMalformed"].includes(String(it.find(text)))));
    expect(it.find(`${secret}x`)).toBe("keyMalformed");
    expect(it.find(secret.toLowerCase())).toBe("keyMalformed");
  });

  test("is refused from its expiry on", () => {
    using it = withAcme();
    const { id, secret } = it.make({ expiresAt: new Date(START + HOUR).toISOString() });
    it.clock.advance(HOUR - 1);
    expect(it.find(secret)).toBe(id);
    it.clock.advance(1);
    expect(it.find(secret)).toBe("keyExpired");
  });

  test("is refused once its key is revoked or disabled, and good again when it is enabled", () => {
    using it = withAcme();
    const { id, secret } = it.make();
    it.keys.patch(id, { enabled: false }, null);
    expect(it.find(secret)).toBe("keyRevoked");
    it.keys.patch(id, { enabled: true }, null);
    expect(it.find(secret)).toBe(id);
    it.keys.revoke(id, null);
    expect(it.find(secret)).toBe("keyRevoked");
    it.keys.patch(id, { enabled: true }, null);
    expect(it.find(secret)).toBe("keyRevoked");
  });

  test("is refused while its consumer is disabled, and after it is deleted", () => {
    using it = withAcme();
    const { id, secret } = it.make();
    it.consumers.patch("acme", { enabled: false }, null);
    expect(it.find(secret)).toBe("keyRevoked");
    it.consumers.patch("acme", { enabled: true }, null);
    expect(it.find(secret)).toBe(id);
    it.consumers.remove("acme", true, null, (consumer) => it.keys.removeOf(consumer));
    expect(it.find(secret)).toBe("keyInvalid");
  });

  test("is of the same key after a restart", () => {
    using data = folder();
    const path = `${data.path}/sluice.db`;
    let made = { id: "", secret: "" };
    let revoked = { id: "", secret: "" };
    {
      using it = withAcme({ path });
      made = it.make({ limits: perMinute(3), ips: ["10.0.0.0/8"], scopes: ["read"] });
      revoked = it.make();
      it.keys.revoke(revoked.id, null);
    }
    using it = setUp({ path });
    expect(it.find(made.secret)).toBe(made.id);
    expect(it.limitOf(made.secret)).toBe(3);
    expect(it.find(revoked.secret)).toBe("keyRevoked");
    const entry = it.registry.find(made.secret, START);
    if (typeof entry === "string") throw new Error(entry);
    expect([entry.scopes, entry.ips?.has("10.1.2.3"), entry.ips?.has("11.1.2.3")]).toEqual([["read"], true, false]);
  });

  test("whose consumer config.json no longer declares is refused until there is one of that id", () => {
    using data = folder();
    const path = `${data.path}/sluice.db`;
    let made = { id: "", secret: "" };
    {
      using it = setUp({ path, config: { consumers: [{ id: "acme", tier: "pro" }] } });
      made = it.make();
      expect(it.find(made.secret)).toBe(made.id);
    }
    using it = setUp({ path });
    expect(it.find(made.secret)).toBe("keyRevoked");
    it.consumers.create({ id: "acme", tier: "free" });
    expect([it.find(made.secret), it.limitOf(made.secret)]).toEqual([made.id, 10]);
  });
});

describe("a rotation", () => {
  test("ends the old secret at once unless there is a grace period", () => {
    using it = withAcme();
    const old = it.make();
    const fresh = it.keys.rotate(old.id, undefined).secret;
    expect([it.find(old.secret), it.find(fresh)]).toEqual(["keyInvalid", old.id]);
  });

  test("keeps the old secret good until its grace period ends, also over a restart", () => {
    using data = folder();
    const path = `${data.path}/sluice.db`;
    const clock = new FakeClock();
    let old = { id: "", secret: "" };
    let fresh = "";
    {
      using it = withAcme({ path, clock });
      old = it.make();
      fresh = it.keys.rotate(old.id, "1h").secret;
      clock.advance(HOUR / 2);
      expect([it.find(old.secret), it.find(fresh)]).toEqual([old.id, old.id]);
    }
    using it = setUp({ path, clock });
    clock.advance(HOUR / 2 - 1);
    expect([it.find(old.secret), it.find(fresh)]).toEqual([old.id, old.id]);
    clock.advance(1);
    expect([it.find(old.secret), it.find(fresh)]).toEqual(["keyInvalid", old.id]);
  });

  test("never keeps the old secret past the key's expiry", () => {
    using it = withAcme();
    const old = it.make({ expiresAt: new Date(START + HOUR).toISOString() });
    const { record } = it.keys.rotate(old.id, "24h");
    expect(record.previousExpiresAt).toBe(record.expiresAt);
    it.clock.advance(HOUR);
    expect(it.find(old.secret)).not.toBe(old.id);
  });

  test("within another's grace period ends the oldest secret", () => {
    using it = withAcme();
    const first = it.make();
    const second = it.keys.rotate(first.id, "1h").secret;
    const third = it.keys.rotate(first.id, "1h").secret;
    expect([it.find(first.secret), it.find(second), it.find(third)]).toEqual(["keyInvalid", first.id, first.id]);
  });

  test("revoking the key ends both secrets", () => {
    using it = withAcme();
    const old = it.make();
    const fresh = it.keys.rotate(old.id, "1h").secret;
    it.keys.revoke(old.id, null);
    expect([it.find(old.secret), it.find(fresh)]).toEqual(["keyRevoked", "keyRevoked"]);
  });
});

describe("the limits of a caller", () => {
  test("are the key's own, else the consumer's own, else the tier's, as they are now", () => {
    using it = withAcme();
    const { id, secret } = it.make({ limits: perMinute(1) });
    it.consumers.patch("acme", { limits: perMinute(2) }, null);
    expect(it.limitOf(secret)).toBe(1);
    it.keys.patch(id, { limits: null }, null);
    expect(it.limitOf(secret)).toBe(2);
    it.consumers.patch("acme", { limits: null }, null);
    expect(it.limitOf(secret)).toBe(10);
    it.consumers.patch("acme", { tier: "pro" }, null);
    expect(it.limitOf(secret)).toBe(100);
    it.tiers.set("pro", perMinute(77));
    it.registry.invalidate();
    expect(it.limitOf(secret)).toBe(77);
  });

  test("are compiled once", () => {
    using it = withAcme();
    const entry = it.registry.find(it.make().secret, START);
    if (typeof entry === "string") throw new Error(entry);
    expect(it.registry.policiesFor(entry)).toBe(it.registry.policiesFor(entry));
    expect(it.registry.anonymousPolicies()).toBe(it.registry.anonymousPolicies());
    expect(it.registry.anonymousPolicies()[0]?.normal.limit).toBe(5);
  });
});

describe("when a key was used last", () => {
  test("shows at once, is written in batches, and survives a restart", () => {
    using data = folder();
    const path = `${data.path}/sluice.db`;
    let id = "";
    {
      using it = withAcme({ path });
      const made = it.make();
      id = made.id;
      const entry = it.registry.find(made.secret, START);
      if (typeof entry === "string") throw new Error(entry);
      it.registry.touch(entry, START + 5000);
      expect(it.keys.get(id).record.lastUsedAt).toBe("2026-11-21T00:00:05.000Z");
      it.keys.flushUsed();
    }
    using it = setUp({ path });
    expect(it.keys.get(id).record.lastUsedAt).toBe("2026-11-21T00:00:05.000Z");
  });

  test("is not lost by a change of the key before it is written", () => {
    using data = folder();
    const path = `${data.path}/sluice.db`;
    let id = "";
    {
      using it = withAcme({ path });
      const made = it.make();
      id = made.id;
      const entry = it.registry.find(made.secret, START);
      if (typeof entry === "string") throw new Error(entry);
      it.registry.touch(entry, START + 5000);
      it.keys.patch(id, { name: "renamed" }, null);
      it.keys.rotate(id, undefined);
      expect(it.keys.get(id).record.lastUsedAt).toBe("2026-11-21T00:00:05.000Z");
      it.keys.flushUsed();
    }
    using it = setUp({ path });
    expect(it.keys.get(id).record.lastUsedAt).toBe("2026-11-21T00:00:05.000Z");
  });
});

describe("declared consumers and keys", () => {
  const config = { consumers: [{ id: "declared", tier: "pro", keys: ["declared_key_0123456789"] }] };

  test("identify, with their tier's limits, and are not written", () => {
    using data = folder();
    const path = `${data.path}/sluice.db`;
    {
      using it = setUp({ path, config });
      expect(it.limitOf("declared_key_0123456789")).toBe(100);
    }
    using it = setUp({ path });
    expect(it.find("declared_key_0123456789")).toBe("keyInvalid");
  });

  test("that the admin API made before are faults of the file", () => {
    using data = folder();
    const path = `${data.path}/sluice.db`;
    {
      using it = withAcme({ path });
      it.consumers.create({ id: "declared", tier: "free" });
      it.make({ key: "declared_key_0123456789" });
    }
    using it = setUp({ path, config });
    expect(it.conflicts).toEqual(["declared", { path: ["consumers", 0, "keys", 0], message: expect.stringContaining("already") }]);
  });
});

/** Two processes on one database: `keeper` makes and changes records, `worker` hears of it as the feed of changes tells it. */
function twoProcesses(path: string) {
  const clock = new FakeClock();
  const keeperBus = aloneBus();
  const keeper = withAcme({ path, clock, bus: keeperBus });
  const workerBus: Bus = { ...keeperBus, role: "worker", self: "1" };
  const worker = setUp({ path, clock, bus: workerBus });
  const feed = new ChangeFeed(worker.storage);
  const { keys, consumers } = worker;
  return {
    keeper,
    worker,
    clock,
    /** Lets the worker hear of what was changed. */
    hear: () =>
      feed.poll((changes) => {
        for (const { kind, id, was } of changes) {
          if (kind === "key") keys.refresh(id, was);
          if (kind === "consumer") consumers.refresh(id);
        }
      }),
    [Symbol.dispose]: () => {
      worker.storage.close();
      keeper.storage.close();
    },
  };
}

describe("what another process changes", () => {
  test("holds for keys in use and for those that are not", () => {
    using data = folder();
    using it = twoProcesses(`${data.path}/sluice.db`);
    const { keeper, worker, hear } = it;
    const [used, unused] = [keeper.make(), keeper.make()];
    hear();
    expect(worker.limitOf(used.secret)).toBe(10);
    for (const { id } of [used, unused]) keeper.keys.patch(id, { limits: perMinute(3) }, null);
    hear();
    expect([used, unused].map(({ secret }) => worker.limitOf(secret))).toEqual([3, 3]);
    keeper.consumers.patch("acme", { enabled: false }, null);
    hear();
    expect([used, unused].map(({ secret }) => worker.find(secret))).toEqual(["keyRevoked", "keyRevoked"]);
    keeper.consumers.patch("acme", { enabled: true, tier: "pro" }, null);
    keeper.keys.patch(used.id, { limits: null }, null);
    hear();
    expect([used, unused].map(({ secret }) => worker.limitOf(secret))).toEqual([100, 3]);
    for (const { id } of [used, unused]) keeper.keys.revoke(id, null);
    hear();
    expect([used, unused].map(({ secret }) => worker.find(secret))).toEqual(["keyRevoked", "keyRevoked"]);
    keeper.consumers.remove("acme", true, null, (consumer) => keeper.keys.removeOf(consumer));
    hear();
    expect([used, unused].map(({ secret }) => worker.find(secret))).toEqual(["keyInvalid", "keyInvalid"]);
    expect([keeper.registry.size, worker.registry.size]).toEqual([0, 0]);
  });

  test("ends a secret whose grace period another rotation cuts short, whichever secrets are in use", () => {
    using data = folder();
    using it = twoProcesses(`${data.path}/sluice.db`);
    const { keeper, worker, hear } = it;
    fc.assert(
      fc.property(fc.array(fc.constantFrom<"rotate" | number>("rotate", 0, 1, 2), { maxLength: 12 }), (steps) => {
        const { id, secret } = keeper.make();
        const secrets = [secret];
        hear();
        for (const step of steps) {
          if (step === "rotate") {
            secrets.unshift(keeper.keys.rotate(id, "1h").secret);
            hear();
          } else if (secrets.length > step) worker.find(secrets[step] as string);
        }
        expect(secrets.map((each) => worker.find(each))).toEqual(secrets.map((_, i) => (i < 2 ? id : "keyInvalid")));
        expect(secrets.map((each) => keeper.find(each))).toEqual(secrets.map((_, i) => (i < 2 ? id : "keyInvalid")));
      }),
      { numRuns: 50 },
    );
  });
});

describe("hashes that begin alike", () => {
  /** Imports a key whose hash has the first 64 bits of another's, as nobody but its importer would have it. */
  const importLike = (it: ReturnType<typeof setUp>, secret: string, consumer: string): string => {
    const hash = hashKey(secret).slice(0, 16) + hashKey("something else").slice(16);
    return it.keys.create({ consumer, hash }).record.id;
  };

  test("are those of different keys, also after a restart and after one is gone", () => {
    using data = folder();
    const path = `${data.path}/sluice.db`;
    let made = { id: "", secret: "" };
    {
      using it = withAcme({ path });
      it.consumers.create({ id: "other", tier: "pro" });
      made = it.make();
      importLike(it, made.secret, "other");
      expect([it.find(made.secret), it.limitOf(made.secret)]).toEqual([made.id, 10]);
    }
    using it = setUp({ path });
    expect([it.find(made.secret), it.limitOf(made.secret)]).toEqual([made.id, 10]);
    it.consumers.remove("other", true, null, (consumer) => it.keys.removeOf(consumer));
    expect(it.find(made.secret)).toBe(made.id);
    it.consumers.remove("acme", true, null, (consumer) => it.keys.removeOf(consumer));
    expect([it.find(made.secret), it.registry.size]).toEqual(["keyInvalid", 0]);
  });

  test("let no secret in whose own key is gone", () => {
    using it = withAcme();
    it.consumers.create({ id: "other", tier: "pro" });
    const { secret } = it.make();
    const id = importLike(it, secret, "other");
    it.consumers.remove("acme", true, null, (consumer) => it.keys.removeOf(consumer));
    expect([it.find(secret), it.keys.get(id).record.consumer, it.registry.size]).toEqual(["keyInvalid", "other", 1]);
  });

  test("can't be imported twice, unless they end differently", () => {
    using it = withAcme();
    const { secret } = it.make();
    expect(() => it.keys.create({ consumer: "acme", hash: hashKey(secret) })).toThrow("exists already");
    importLike(it, secret, "acme");
    expect(() => importLike(it, secret, "acme")).toThrow("exists already");
  });
});

describe("when more keys are used than are kept in memory", () => {
  test("all are known, with their last use and the limits that they have now", () => {
    using it = setUp({ maxInUse: 6 });
    it.consumers.create({ id: "acme", tier: "free" });
    const made = Array.from({ length: 40 }, () => it.make());
    for (const { secret } of made) {
      const found = it.registry.find(secret, START);
      if (typeof found === "string") throw new Error(found);
      it.registry.touch(found, START + 1000);
    }
    for (const { secret } of made.slice(0, 20)) {
      const found = it.registry.find(secret, START);
      if (typeof found === "string") throw new Error(found);
      it.registry.touch(found, START + 2000);
    }
    it.keys.flushUsed();
    const seconds = made.map(({ id }) => (Date.parse(it.keys.get(id).record.lastUsedAt ?? "") - START) / 1000);
    expect(seconds).toEqual(made.map((_, i) => (i < 20 ? 2 : 1)));
    it.consumers.patch("acme", { tier: "pro" }, null);
    expect(new Set(made.map(({ secret }) => it.limitOf(secret)))).toEqual(new Set([100]));
  });
});

describe("while the database can't be read", () => {
  test("keys in use go on, unknown ones are unknown, and nobody says of the others that they are", () => {
    using data = folder();
    const path = `${data.path}/sluice.db`;
    using it = withAcme({ path, maxInUse: 4 });
    const [used, unused] = [it.make(), it.make()];
    expect(it.find(used.secret)).toBe(used.id);
    using other = new Database(path);
    other.run("ALTER TABLE keys RENAME TO gone");
    expect([it.find(used.secret), it.find(unused.secret), it.find("nobody-has-this-key-0123")]).toEqual([
      used.id,
      "keysUnavailable",
      "keyInvalid",
    ]);
    expect(it.faults.map(String)).toEqual([expect.stringContaining("no such table")]);
    other.run("ALTER TABLE gone RENAME TO keys");
    expect(it.find(unused.secret)).toBe(unused.id);
  });

  test("a key in use that another process has changed is not good by what it was before", () => {
    using data = folder();
    using it = twoProcesses(`${data.path}/sluice.db`);
    const { keeper, worker, hear } = it;
    const { id, secret } = keeper.make();
    hear();
    expect(worker.find(secret)).toBe(id);
    const was = hashKey(secret);
    keeper.keys.revoke(id, null);
    keeper.storage.client.run("ALTER TABLE keys RENAME TO gone");
    expect(() => worker.keys.refresh(id, was)).toThrow("no such table");
    expect(worker.find(secret)).toBe("keysUnavailable");
  });
});

describe("a worker", () => {
  const use = ({ registry, clock }: ReturnType<typeof setUp>, secret: string): void => {
    const found = registry.find(secret, clock.wall());
    if (typeof found === "string") throw new Error(found);
    registry.touch(found, clock.wall() + 5000);
  };

  test("hands to the keeper when keys were used last, and writes nothing itself", async () => {
    using data = folder();
    using it = twoProcesses(`${data.path}/sluice.db`);
    const { id, secret } = it.keeper.make();
    it.hear();
    use(it.worker, secret);
    it.worker.storage.client.run("PRAGMA query_only = 1");
    it.worker.keys.flushUsed();
    await Bun.sleep(0);
    expect(it.keeper.keys.get(id).record.lastUsedAt).toBe("2026-11-21T00:00:05.000Z");
  });

  test("tells the keeper when a key of the file was used last, which no database has", async () => {
    const declared = {
      consumers: [{ id: "acme", tier: "free", keys: [{ key: "declared-key-0123456789" }] }],
      tiers: { free: { limits: [] } },
    };
    const bus = aloneBus();
    using data = folder();
    using keeper = setUp({ path: `${data.path}/sluice.db`, config: declared, bus });
    using worker = setUp({ path: `${data.path}/sluice.db`, config: declared, bus: { ...bus, role: "worker" } });
    use(worker, "declared-key-0123456789");
    worker.keys.flushUsed();
    await Bun.sleep(0);
    const { items } = await keeper.keys.page({}, { limit: 10, order: { by: "id", isDescending: false }, after: null, forms: null });
    expect(items.map(({ lastUsedAt }) => lastUsedAt)).toEqual(["2026-11-21T00:00:05.000Z"]);
  });

  test("hands it over again when there was no keeper to take it", async () => {
    using data = folder();
    const path = `${data.path}/sluice.db`;
    const lateBus = aloneBus();
    using worker = withAcme({ path, bus: { ...lateBus, role: "worker" } });
    const { id, secret } = worker.make();
    use(worker, secret);
    worker.keys.flushUsed();
    await Bun.sleep(0);
    using keeper = setUp({ path, bus: lateBus });
    expect(keeper.keys.get(id).record.lastUsedAt).toBeNull();
    worker.keys.flushUsed();
    await Bun.sleep(0);
    expect(keeper.keys.get(id).record.lastUsedAt).toBe("2026-11-21T00:00:05.000Z");
  });
});

test("no secret is in the database", async () => {
  using data = folder();
  const path = `${data.path}/sluice.db`;
  const secrets: string[] = [];
  {
    using it = withAcme({ path });
    const made = it.make();
    secrets.push(made.secret, it.keys.rotate(made.id, "1h").secret, it.make({ key: "imported-key-0123456789" }).secret);
  }
  const stored = Buffer.from(await Bun.file(path).bytes());
  for (const secret of secrets) expect(stored.includes(secret)).toBe(false);
});

test("20,000 keys are imported and loaded again", () => {
  using data = folder();
  const path = `${data.path}/sluice.db`;
  const many = 20_000;
  const secretOf = (i: number) => `imported-key-${String(i).padStart(8, "0")}`;
  let importing = 0;
  {
    using it = withAcme({ path });
    const began = performance.now();
    for (let i = 0; i < many; i += 10_000)
      it.keys.import(Array.from({ length: 10_000 }, (_, j) => ({ consumer: "acme", key: secretOf(i + j) })));
    importing = performance.now() - began;
  }
  const began = performance.now();
  using it = setUp({ path });
  const loading = performance.now() - began;
  expect(it.registry.size).toBe(many);
  for (const i of [0, 1, 9_999, 19_999]) expect(it.limitOf(secretOf(i))).toBe(10);
  expect(it.find(secretOf(many))).toBe("keyInvalid");
  const asked = performance.now();
  for (let i = 0; i < many; i++) it.registry.find(secretOf(i), START);
  const asking = ((performance.now() - asked) * 1000) / many;
  console.log(
    `20,000 keys: imported in ${Math.round(importing)} ms, loaded in ${Math.round(loading)} ms, ${asking.toFixed(2)} µs a look-up`,
  );
});

import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { AdminTokens } from "../../src/admin/tokens.ts";
import { Audit } from "../../src/audit/audit.ts";
import { endSessionsOfToken, type NewSession, Sessions } from "../../src/sessions/sessions.ts";
import { openStorage } from "../../src/storage/open.ts";
import { FakeClock } from "../support/clock.ts";
import { folder } from "../support/process.ts";

const CONSOLE: NewSession = { use: "console", token: "first", actor: "first", role: null, consumer: null, ttl: 1000 };
const LINK: NewSession = { use: "myLink", token: null, actor: null, role: null, consumer: "acme", ttl: 1000 };

function sessionsOf() {
  const storage = openStorage(":memory:");
  const clock = new FakeClock();
  return { storage, clock, sessions: new Sessions({ storage, clock }), [Symbol.dispose]: () => storage.close() };
}

describe("a session", () => {
  test("is found by its id, for its use alone, until its time is over", () => {
    using it = sessionsOf();
    const { id, expiresAt } = it.sessions.make(CONSOLE);
    expect(it.sessions.find(id, "console")).toEqual({
      ...{ use: "console", token: "first", actor: "first", role: null, claims: null, consumer: null },
      ...{ madeAt: it.clock.wall(), expiresAt },
    });
    expect([it.sessions.find(id, "my"), it.sessions.find(`${id}x`, "console"), it.sessions.find("", "console")]).toEqual([
      null,
      null,
      null,
    ]);
    it.clock.advance(999);
    expect(it.sessions.find(id, "console")).not.toBeNull();
    it.clock.advance(1);
    expect(it.sessions.find(id, "console")).toBeNull();
    it.sessions.prune();
    expect(it.storage.client.query("SELECT 1 FROM sessions").all()).toEqual([]);
  });

  test("is stored as a hash", () => {
    using it = sessionsOf();
    const { id } = it.sessions.make(CONSOLE);
    expect(JSON.stringify(it.storage.client.query("SELECT * FROM sessions").all())).not.toContain(id);
  });

  test("ends alone, with its token, or with its consumer", () => {
    using it = sessionsOf();
    const ids = [CONSOLE, CONSOLE, { ...CONSOLE, token: "tok_1" }, { ...LINK, use: "my" as const }].map(
      (each) => it.sessions.make(each).id,
    );
    const left = () => ids.map((id) => (it.sessions.find(id, "console") ?? it.sessions.find(id, "my")) !== null);
    it.sessions.end(ids[0] ?? "");
    expect(left()).toEqual([false, true, true, true]);
    endSessionsOfToken(it.storage, "first");
    expect(left()).toEqual([false, false, true, true]);
    it.sessions.endOfConsumer("acme");
    expect(left()).toEqual([false, false, true, false]);
  });

  test("gives way when there are ten thousand: the oldest goes", () => {
    using it = sessionsOf();
    const first = it.sessions.make(CONSOLE).id;
    it.clock.advance(1);
    const second = it.sessions.make({ ...CONSOLE, ttl: 1_000_000 }).id;
    it.sessions.make(LINK);
    it.storage.client.run(
      `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9998)
       INSERT INTO sessions (hash, "use", made_at, expires_at) SELECT 'h' || i, 'console', ?1, ?1 FROM n`,
      [it.clock.wall()],
    );
    it.clock.advance(1);
    it.sessions.make(CONSOLE);
    expect([it.sessions.find(first, "console"), it.sessions.find(second, "console")]).toEqual([null, expect.anything()]);
    expect(it.storage.client.query("SELECT count(*) AS n FROM sessions").get()).toEqual({ n: 10_001 });
  });
});

test("a session of SLUICE_ADMIN_TOKEN ends where that becomes another, or is left out", () => {
  using it = sessionsOf();
  const deps = { ...it, audit: new Audit(it) };
  const open = (token: string | undefined) => AdminTokens.open(deps, token).tokens;
  const before = open("a-token-0123456789");
  const mark = before.find("a-token-0123456789")?.mark ?? "";
  expect(mark).not.toContain("token");
  expect(open("a-token-0123456789").byMark(mark)).not.toBeNull();
  expect([open("another-token-0123456789").byMark(mark), open(undefined).byMark(mark)]).toEqual([null, null]);
});

describe("a link", () => {
  test("works once, and not when its time is over", () => {
    using it = sessionsOf();
    const [one, two] = [it.sessions.make(LINK).id, it.sessions.make(LINK).id];
    expect(it.sessions.takeLink(one, "consoleLink")).toBeNull();
    expect(it.sessions.takeLink(one, "myLink")?.consumer).toBe("acme");
    expect(it.sessions.takeLink(one, "myLink")).toBeNull();
    it.clock.advance(1000);
    expect(it.sessions.takeLink(two, "myLink")).toBeNull();
  });

  test("is taken by one of two processes", () => {
    using home = folder();
    const at = join(home.path, "sluice.db");
    const storages = [openStorage(at), openStorage(at)];
    const clock = new FakeClock();
    const [ours, theirs] = storages.map((storage) => new Sessions({ storage, clock })) as [Sessions, Sessions];
    const { id } = ours.make(LINK);
    expect([theirs.takeLink(id, "myLink") !== null, ours.takeLink(id, "myLink")]).toEqual([true, null]);
    for (const storage of storages) storage.close();
  });
});

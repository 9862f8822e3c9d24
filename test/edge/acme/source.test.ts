import { expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { FolderStore, MemoryStore } from "../../../src/edge/acme/store.ts";
import { ordering } from "../../support/acme.ts";
import { type Authority, authority, refusal } from "../../support/acme-authority.ts";
import { FakeClock } from "../../support/clock.ts";
import { folder } from "../../support/process.ts";

const HOST = "api.example.com";
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const START = Math.floor(Date.now() / 1000) * 1000;

const inLife = (days: number): Authority["life"] => ({ beginsAt: START, endsAt: START + days * DAY });

const storeIn = (path: string, directory: string): FolderStore => new FolderStore(path, directory, () => ({ close: () => {} }));

test("a host without a certificate gets one", async () => {
  using ca = authority();
  await using own = ordering({ settings: { directory: ca.directory, hosts: ["API.example.com"], email: "ops@example.org" } });
  ca.httpPort = own.httpPort;
  await own.look();
  expect(own.events).toEqual([{ type: "certificateOrdered", host: HOST, endsAt: expect.any(Number), renewsAt: expect.any(Number) }]);
  const [served] = own.source.certificates;
  expect(served).toMatchObject({ names: [HOST], source: "acme", place: HOST });
  expect(new X509Certificate(served?.cert ?? "").checkHost(HOST)).toBe(HOST);
  expect([...ca.accounts.values()].map(({ contact }) => contact)).toEqual([["mailto:ops@example.org"]]);
  expect(own.counts).toEqual({ issued: 1, failed: 0 });
  // Nobody is asked for it any more.
  const token = ca.asked.find(({ what }) => what === "challenge");
  expect(token).toBeDefined();
  expect(await own.source.proof("anything")).toBeNull();
});

test("an address gets one as well", async () => {
  using ca = authority();
  await using own = ordering({ settings: { directory: ca.directory, hosts: ["192.0.2.7", "2001:db8::7"] } });
  ca.httpPort = own.httpPort;
  await own.look();
  expect(ca.asked.filter(({ what }) => what === "new-order").map(({ payload }) => payload)).toEqual([
    { identifiers: [{ type: "ip", value: "192.0.2.7" }] },
    { identifiers: [{ type: "ip", value: "2001:db8::7" }] },
  ]);
  expect(own.source.certificates.map(({ place }) => place)).toEqual(["192.0.2.7", "2001:db8::7"]);
});

test("a certificate is renewed when a third of its life is left, with another key", async () => {
  using ca = authority({ life: inLife(90) });
  const clock = new FakeClock(START);
  await using own = ordering({ settings: { directory: ca.directory }, clock });
  ca.httpPort = own.httpPort;
  await own.look();
  const [first] = own.source.certificates;
  const renewsAt = own.source.standings[0]?.renewsAt ?? 0;
  // A little before, so that not all are renewed at once.
  expect(renewsAt).toBeLessThanOrEqual(START + 60 * DAY);
  expect(renewsAt).toBeGreaterThan(START + 58 * DAY);
  clock.time = renewsAt - 1;
  await own.look();
  expect(own.counts.issued).toBe(1);
  clock.time = renewsAt;
  ca.life = { beginsAt: clock.time, endsAt: clock.time + 90 * DAY };
  await own.look();
  expect(own.counts.issued).toBe(2);
  const [second] = own.source.certificates;
  expect(second?.endsAt).toBeGreaterThan(first?.endsAt ?? 0);
  expect(second?.key).not.toBe(first?.key ?? "");
});

test("the authority says when to renew, and which certificate the new one replaces", async () => {
  using ca = authority({ life: inLife(90), window: { start: START + 10 * DAY, end: START + 11 * DAY, after: 3600 } });
  const clock = new FakeClock(START);
  await using own = ordering({ settings: { directory: ca.directory }, clock });
  ca.httpPort = own.httpPort;
  await own.look();
  await own.look();
  const id = ca.asked.find(({ what }) => what === "renewal")?.payload;
  expect(id).toMatch(/^[\w-]+\.[\w-]+$/);
  const [state] = own.source.standings;
  expect(state?.renewsAt).toBeGreaterThanOrEqual(START + 10 * DAY);
  expect(state?.renewsAt).toBeLessThan(START + 11 * DAY);
  expect(state).toMatchObject({ explanation: "https://example.org/why" });
  // A certificate that is about to be revoked: the next question brings the word.
  ca.window = { start: START - DAY, end: START, after: 3600 };
  clock.advance(3_599_000);
  await own.look();
  expect(ca.asked.filter(({ what }) => what === "renewal")).toHaveLength(1);
  clock.advance(1000);
  await own.look();
  await own.look();
  expect(own.counts.issued).toBe(2);
  expect(ca.asked.filter(({ what }) => what === "new-order").map(({ payload }) => payload)).toEqual([
    { identifiers: [{ type: "dns", value: HOST }] },
    { identifiers: [{ type: "dns", value: HOST }], replaces: id },
  ]);
});

test("an order goes on where the authority does not take it as a replacement", async () => {
  using ca = authority({ life: inLife(90), window: { start: START - DAY, end: START } });
  await using own = ordering({ settings: { directory: ca.directory }, clock: new FakeClock(START) });
  ca.httpPort = own.httpPort;
  ca.instead = (what, payload) =>
    what === "new-order" && "replaces" in (payload as object) ? refusal("alreadyReplaced", "it was replaced", 409) : null;
  await own.look();
  await own.look();
  own.clock.advance(HOUR);
  await own.look();
  expect(own.counts).toEqual({ issued: 2, failed: 0 });
});

test("one renewal does not follow the other, whatever the authority and the clock say", async () => {
  using ca = authority({ life: { beginsAt: START - 90 * DAY, endsAt: START + DAY }, window: { start: START - DAY, end: START } });
  await using own = ordering({ settings: { directory: ca.directory }, clock: new FakeClock(START) });
  ca.httpPort = own.httpPort;
  for (let i = 0; i < 6; i++) await own.look();
  expect(own.counts.issued).toBe(1);
  own.clock.advance(HOUR);
  for (let i = 0; i < 6; i++) await own.look();
  expect(own.counts.issued).toBe(2);
});

test("a window that can't be, and an authority that does not answer about renewals, change nothing", async () => {
  using ca = authority({ life: inLife(90), window: { start: START + DAY, end: START } });
  await using own = ordering({ settings: { directory: ca.directory }, clock: new FakeClock(START) });
  ca.httpPort = own.httpPort;
  for (let i = 0; i < 3; i++) await own.look();
  ca.instead = (what) => (what === "renewal" ? new Response("no", { status: 503 }) : null);
  own.clock.advance(DAY);
  await own.look();
  expect(own.source.standings).toMatchObject([{ failures: 0, window: null }]);
  expect(own.counts).toEqual({ issued: 1, failed: 0 });
});

test("a failing order is told, waits longer each time, and serves what there is", async () => {
  using ca = authority({ life: inLife(90) });
  const clock = new FakeClock(START);
  await using own = ordering({ settings: { directory: ca.directory }, clock });
  ca.httpPort = own.httpPort;
  await own.look();
  const renewsAt = own.source.standings[0]?.renewsAt ?? 0;
  clock.time = renewsAt;
  // Nothing answers the challenge.
  ca.httpPort = 1;
  const pauses: number[] = [];
  for (let i = 0; i < 9; i++) {
    await own.look();
    const [state] = own.source.standings;
    expect(state).toMatchObject({ failures: i + 1, trouble: "the answer is not as it should be (unauthorized)" });
    pauses.push((state?.renewsAt ?? 0) - clock.time);
    clock.time = state?.renewsAt ?? 0;
  }
  expect(pauses.map((pause) => pause / 60_000)).toEqual([1, 3, 9, 27, 81, 243, 729, 1440, 1440]);
  expect(own.source.certificates).toHaveLength(1);
  ca.httpPort = own.httpPort;
  await own.look();
  expect(own.source.standings).toMatchObject([{ failures: 0, trouble: null }]);
  expect(own.events.slice(-2)).toMatchObject([
    { type: "certificateFailing", name: HOST, why: null },
    { type: "certificateOrdered", host: HOST },
  ]);
});

test("who limits us is waited for, up to a day", async () => {
  using ca = authority();
  const clock = new FakeClock(START);
  await using own = ordering({ settings: { directory: ca.directory }, clock });
  for (const [after, wait] of [
    [7200, 7200],
    [7 * 86_400, 86_400],
  ] as const) {
    ca.instead = (what) => (what === "new-order" ? refusal("rateLimited", "too many", 429, { "Retry-After": String(after) }) : null);
    await own.look();
    const [state] = own.source.standings;
    expect(state?.trouble).toBe("too many (rateLimited)");
    expect(state?.renewsAt).toBe(clock.time + wait * 1000);
    clock.time = state?.renewsAt ?? 0;
  }
});

test("one host that can't be ordered holds up no other", async () => {
  using ca = authority();
  await using own = ordering({ settings: { directory: ca.directory, hosts: ["bad.example.com", "a.example.com", "b.example.com"] } });
  ca.httpPort = own.httpPort;
  ca.instead = (what, payload) =>
    what === "new-order" && JSON.stringify(payload).includes("bad.") ? refusal("rejectedIdentifier", "not that one") : null;
  await own.look();
  expect(own.source.certificates.map(({ place }) => place)).toEqual(["a.example.com", "b.example.com"]);
  expect(own.source.standings.map(({ failures }) => failures)).toEqual([1, 0, 0]);
});

test("a profile is asked for by its name, and one that there is not is told with those that there are", async () => {
  using ca = authority({ profiles: ["classic", "shortlived"] });
  await using own = ordering({ settings: { directory: ca.directory, profile: "shortlived" } });
  ca.httpPort = own.httpPort;
  await own.look();
  expect(ca.asked.find(({ what }) => what === "new-order")?.payload).toMatchObject({ profile: "shortlived" });
  await using other = ordering({ settings: { directory: ca.directory, profile: "short" } });
  await other.look();
  expect(other.source.standings[0]?.trouble).toBe('the authority has no profile "short": it has classic, shortlived');
});

test("an account that the authority has forgotten is made again", async () => {
  using ca = authority({ life: inLife(1) });
  const store = new MemoryStore();
  const clock = new FakeClock(START);
  await using own = ordering({ settings: { directory: ca.directory }, store, clock });
  ca.httpPort = own.httpPort;
  await own.look();
  const before = store.account();
  ca.accounts.clear();
  clock.time = own.source.standings[0]?.renewsAt ?? 0;
  await own.look();
  expect(own.counts).toEqual({ issued: 2, failed: 0 });
  expect(store.account()).toEqual(before);
});

test("another address is told to the authority", async () => {
  using ca = authority();
  const store = new MemoryStore();
  await using own = ordering({ settings: { directory: ca.directory, email: "a@example.org" }, store });
  ca.httpPort = own.httpPort;
  await own.look();
  await using next = ordering({ settings: { directory: ca.directory, email: "b@example.org", hosts: ["b.example.com"] }, store });
  ca.httpPort = next.httpPort;
  await next.look();
  expect([...ca.accounts.values()].map(({ contact }) => contact)).toEqual([["mailto:b@example.org"]]);
});

test("what was ordered outlives the process, and so does what failed", async () => {
  using place = folder();
  using ca = authority();
  {
    await using own = ordering({ settings: { directory: ca.directory }, store: storeIn(place.path, ca.directory) });
    ca.httpPort = own.httpPort;
    await own.look();
  }
  const settings = { directory: ca.directory, hosts: [HOST, "b.example.com"] };
  ca.instead = (what) => (what === "new-order" ? refusal("rejectedIdentifier", "not that one") : null);
  {
    await using own = ordering({ settings, store: storeIn(place.path, ca.directory) });
    expect(own.source.certificates.map(({ place }) => place)).toEqual([HOST]);
    await own.look();
    expect(own.counts).toEqual({ issued: 0, failed: 1 });
  }
  await using own = ordering({ settings, store: storeIn(place.path, ca.directory) });
  // One that starts again and again uses up nothing.
  expect(own.events).toMatchObject([{ type: "certificateFailing", name: "b.example.com", why: "not that one (rejectedIdentifier)" }]);
  await own.look();
  expect(own.counts).toEqual({ issued: 0, failed: 0 });
  expect(own.source.standings[1]?.renewsAt).toBeGreaterThan(own.clock.time);
  // Who asks for it has it tried a minute after the last try.
  own.source.lookAgain();
  own.clock.advance(60_000);
  await own.look();
  expect(own.counts).toEqual({ issued: 0, failed: 1 });
});

test("a stored certificate that can't be used is ordered anew, and told", async () => {
  using place = folder();
  using ca = authority();
  const store = storeIn(place.path, ca.directory);
  store.keepCertificate(HOST, "no certificate");
  await using own = ordering({ settings: { directory: ca.directory }, store });
  ca.httpPort = own.httpPort;
  expect(own.events).toMatchObject([
    { type: "certificateFailing", name: HOST, why: expect.stringContaining("there is no certificate in it") },
  ]);
  await own.look();
  expect(own.source.certificates).toHaveLength(1);
  expect(own.events[1]).toMatchObject({ why: null });
});

test("a chain that no listener could be begun with is refused, whatever stands first in it", async () => {
  using place = folder();
  using ca = authority();
  const store = storeIn(place.path, ca.directory);
  {
    await using own = ordering({ settings: { directory: ca.directory }, store });
    ca.httpPort = own.httpPort;
    await own.look();
  }
  const pem = store.certificate(HOST) ?? "";
  store.keepCertificate(HOST, `${pem}-----BEGIN CERTIFICATE-----\n${Buffer.alloc(200).toString("base64")}\n-----END CERTIFICATE-----\n`);
  await using own = ordering({ settings: { directory: ca.directory }, store });
  expect(own.source.certificates).toEqual([]);
  expect(own.events).toMatchObject([
    { type: "certificateFailing", name: HOST, why: expect.stringContaining("the stored certificate can't be used, another is ordered") },
  ]);
});

test("the certificate of another authority serves until that of this one is there", async () => {
  using place = folder();
  using before = authority();
  using ca = authority();
  {
    await using own = ordering({ settings: { directory: before.directory }, store: storeIn(place.path, before.directory) });
    before.httpPort = own.httpPort;
    await own.look();
  }
  ca.life = { beginsAt: START, endsAt: START + 7 * DAY };
  await using own = ordering({ settings: { directory: ca.directory }, store: storeIn(place.path, ca.directory) });
  ca.httpPort = own.httpPort;
  const [served] = own.source.certificates;
  expect(served?.place).toBe(HOST);
  await own.look();
  expect(own.source.certificates[0]?.endsAt).toBe(START + 7 * DAY);
});

test("a certificate that can't be stored is served, told, and stored later", async () => {
  using ca = authority();
  class Full extends MemoryStore {
    isFull = true;
    override keepCertificate(host: string, pem: string): void {
      if (this.isFull) throw new Error("ENOSPC: no space left on device");
      super.keepCertificate(host, pem);
    }
  }
  const store = new Full();
  await using own = ordering({ settings: { directory: ca.directory }, store });
  ca.httpPort = own.httpPort;
  await own.look();
  expect(own.source.certificates).toHaveLength(1);
  expect(own.events[0]).toMatchObject({ why: "the certificate is served and can't be stored: ENOSPC: no space left on device" });
  store.isFull = false;
  own.clock.advance(60_000);
  await own.look();
  expect(store.certificate(HOST)).not.toBeNull();
  expect(own.events.at(-1)).toMatchObject({ why: null });
  expect(own.counts.issued).toBe(1);
});

test("another process on the same folder orders, and what it got is taken", async () => {
  using place = folder();
  using ca = authority();
  let isTaken = false;
  const lock = (): { close(): void } | null => {
    if (isTaken) return null;
    isTaken = true;
    return {
      close: () => {
        isTaken = false;
      },
    };
  };
  const settings = { directory: ca.directory };
  await using one = ordering({ settings, store: new FolderStore(place.path, ca.directory, lock) });
  await using two = ordering({ settings, store: new FolderStore(place.path, ca.directory, lock) });
  // Who is asked is the one that does not order.
  ca.httpPort = two.httpPort;
  one.source.look();
  await two.look();
  await one.source.settled();
  two.clock.advance(5000);
  await two.look();
  expect(one.counts.issued + two.counts.issued).toBe(1);
  expect(two.source.certificates).toEqual(one.source.certificates);
});

test("what the authority sends is not trusted", async () => {
  using ca = authority();
  const clock = new FakeClock(START);
  await using own = ordering({ settings: { directory: ca.directory }, clock });
  ca.httpPort = own.httpPort;
  const cases: readonly [Authority["instead"], string][] = [
    [(what) => (what === "certificate" ? new Response("-----BEGIN NOTHING-----") : null), "there is no certificate in it"],
    [(what) => (what === "new-order" ? new Response("<html>", { status: 502 }) : null), "status 502"],
    [
      (what) => (what === "new-order" ? new Response("[", { status: 201, headers: { Location: "https://x/" } }) : null),
      "no order that can be read",
    ],
    [(what) => (what === "new-order" ? refusal("malformed", `two\nlines ${"x".repeat(10_000)}`) : null), "two lines xxx"],
    [
      (what) =>
        what === "authorization" ? Response.json({ status: "pending", challenges: [{ type: "http-01", token: "../../x" }] }) : null,
      "token is none",
    ],
    [
      (what) => (what === "authorization" ? Response.json({ status: "pending", challenges: [{ type: "dns-01" }] }) : null),
      "does not offer http-01",
    ],
    [
      (what) => (what === "new-order" ? new Response(null, { status: 302, headers: { Location: "https://127.0.0.1:1/" } }) : null),
      "status 302",
    ],
  ];
  for (const [instead, why] of cases) {
    ca.instead = instead;
    clock.time = own.source.standings[0]?.renewsAt || START;
    await own.look();
    const [state] = own.source.standings;
    expect(state?.trouble).toContain(why);
    expect(state?.trouble?.length).toBeLessThan(1000);
  }
  expect(own.source.certificates).toEqual([]);
});

test("an authority that is not known, or not there, is told as such", async () => {
  using ca = authority();
  using place = folder();
  const file = join(place.path, "other.pem");
  writeFileSync(file, "nothing");
  await using unknown = ordering({ settings: { directory: ca.directory, ca: null } });
  await unknown.look();
  expect(unknown.source.standings[0]?.trouble).toContain(`${ca.directory} can't be asked: `);
  await using away = ordering({ settings: { directory: "https://127.0.0.1:1/directory" } });
  await away.look();
  expect(away.source.standings[0]?.trouble).toContain("https://127.0.0.1:1/directory can't be asked: ");
  await using without = ordering({ settings: { directory: ca.directory, ca: join(place.path, "none.pem") } });
  await without.look();
  expect(without.source.standings[0]?.trouble).toContain("server.tls.acme.ca can't be read");
});

test("a stop ends what is under way at once, and no failure is counted", async () => {
  using ca = authority();
  using place = folder();
  const store = storeIn(place.path, ca.directory);
  const own = ordering({ settings: { directory: ca.directory }, store });
  ca.instead = (what) => (what === "order" ? Response.json({ status: "pending" }, { headers: { "Retry-After": "60" } }) : null);
  ca.httpPort = own.httpPort;
  own.source.look();
  while (!ca.asked.some(({ what }) => what === "order")) await Bun.sleep(5);
  await own[Symbol.asyncDispose]();
  expect(own.counts).toEqual({ issued: 0, failed: 0 });
  expect(store.tries(HOST)).toBeNull();
});

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KeySet } from "../../src/issuers/key-set.ts";
import { sourceOf } from "../../src/issuers/key-source.ts";
import { FakeClock } from "../support/clock.ts";
import { signingKey, type TestIssuer, testIssuer, until } from "../support/token-issuer.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

let issuer: TestIssuer;
let clock: FakeClock;
const open: KeySet[] = [];

beforeEach(async () => {
  clock = new FakeClock();
  issuer = await testIssuer(clock.wall);
});
afterEach(() => {
  for (const set of open.splice(0)) set.close();
  issuer[Symbol.dispose]();
});

/** A key set of the issuer, and what it said of itself. */
function keySet(jwks: string | null = `${issuer.url}/jwks`): KeySet & { readonly said: (string | null)[] } {
  const set = new KeySet({ source: sourceOf({ issuer: issuer.url, jwks }), clock });
  const said: (string | null)[] = [];
  set.onChange = () => void said.push(set.trouble);
  open.push(set);
  return Object.assign(set, { said });
}

const kindOf = async (set: KeySet, kid: string | null): Promise<string> => (await set.find(kid, "ES256")).kind;
const fetches = (): number => issuer.asked.filter((path) => path === "/jwks").length;

describe("an issuer's keys", () => {
  test("are fetched once, however many ask for them, and are there at once from then on", async () => {
    const set = keySet();
    expect(await Promise.all(Array.from({ length: 100 }, () => kindOf(set, "first")))).toEqual(Array(100).fill("keys"));
    expect(set.find("first", "ES256")).not.toBeInstanceOf(Promise);
    expect(fetches()).toBe(1);
  });

  test("are found where the issuer says, which is asked once", async () => {
    const set = keySet(null);
    expect(await kindOf(set, "first")).toBe("keys");
    await issuer.rotate();
    expect(await kindOf(set, "rotated-1")).toBe("keys");
    expect(issuer.asked).toEqual(["/.well-known/openid-configuration", "/jwks", "/jwks"]);
  });

  test("are found anew where they are not any more", async () => {
    const set = keySet(null);
    await kindOf(set, "first");
    issuer.answer = () => new Response(null, { status: 404 });
    await issuer.rotate();
    expect(await kindOf(set, "rotated-1")).toBe("unavailable");
    issuer.answer = null;
    expect(await kindOf(set, "rotated-1")).toBe("keys");
    expect(issuer.asked.filter((path) => path !== "/jwks")).toHaveLength(2);
  });

  test("follow a rotation at once, as often as there is one", async () => {
    const set = keySet();
    for (let i = 1; i <= 10; i++) {
      await issuer.rotate();
      expect(await Promise.all(Array.from({ length: 50 }, () => kindOf(set, `rotated-${i}`)))).toEqual(Array(50).fill("keys"));
    }
    expect(fetches()).toBe(10);
  });

  test("are asked for at most eight times in 30 s of made-up names, and a key that came meanwhile is known within 6 s", async () => {
    const set = keySet();
    set.look();
    let waited = 0;
    for (let i = 0; i < 10_000; i++) {
      if (i === 5000) await issuer.rotate();
      expect(await kindOf(set, `made-up-${i}`)).toBe("unknown");
      if (i >= 5000 && waited === 0 && (await kindOf(set, "rotated-1")) === "keys") waited = (i - 5000) * 3;
      clock.advance(3);
    }
    expect(fetches()).toBeLessThanOrEqual(8);
    expect(waited).toBeGreaterThan(0);
    expect(waited).toBeLessThanOrEqual(6000);
  });

  test("without names are fetched again when none of them fits", async () => {
    const strip = () => Response.json({ keys: issuer.keys.map(({ published: { kid: _, ...rest } }) => rest) });
    issuer.answer = strip;
    const set = keySet();
    const found = await set.find(null, "ES256");
    expect(found).toMatchObject({ kind: "keys", version: 1 });
    expect(await set.find(null, "ES256", 1)).toMatchObject({ kind: "keys", version: 2 });
    expect((await set.find(null, "ES256", 2)).kind).toBe("unknown");
    expect(fetches()).toBe(2);
  });

  test("are kept 10 minutes; the next ones come in the background", async () => {
    const set = keySet();
    await kindOf(set, "first");
    clock.advance(10 * MINUTE - 1);
    set.look();
    expect(set.find("first", "ES256")).not.toBeInstanceOf(Promise);
    expect(fetches()).toBe(1);
    clock.advance(1);
    await issuer.rotate();
    // The old ones serve this request.
    expect(set.find("first", "ES256")).not.toBeInstanceOf(Promise);
    await until(() => fetches() === 2);
    await until(async () => (await kindOf(set, "first")) === "unknown");
  });

  test("that nobody asked for in a while are fetched before they serve", async () => {
    const set = keySet();
    await kindOf(set, "first");
    clock.advance(HOUR);
    await issuer.rotate();
    expect(await kindOf(set, "first")).toBe("unknown");
    expect(await kindOf(set, "rotated-1")).toBe("keys");
    expect(fetches()).toBeGreaterThan(1);
  });

  test("serve 24 hours while the issuer is away, without waiting for it", async () => {
    const set = keySet();
    await kindOf(set, "first");
    await issuer.away();
    clock.advance(HOUR);
    expect(await kindOf(set, "first")).toBe("keys");
    for (let hour = 2; hour < 24; hour++) {
      clock.advance(HOUR);
      expect(set.find("first", "ES256")).not.toBeInstanceOf(Promise);
    }
    clock.advance(HOUR);
    expect(await kindOf(set, "first")).toBe("unavailable");
    expect(set.said).toEqual([expect.stringContaining("can't be reached")]);
    issuer.back();
    clock.advance(5000);
    expect(await kindOf(set, "first")).toBe("keys");
    expect(set.said).toEqual([expect.any(String), null]);
  });

  test("that never were there make tokens impossible to judge, and come when the issuer does", async () => {
    await issuer.away();
    const set = keySet(null);
    expect(await set.find("first", "ES256")).toMatchObject({ kind: "unavailable" });
    expect(set.isUsable).toBe(false);
    issuer.back();
    clock.advance(5000);
    expect(await kindOf(set, "first")).toBe("keys");
    expect(set.trouble).toBeNull();
  });

  test("leave the question open whether a name is one of theirs while the issuer is away", async () => {
    const set = keySet();
    await kindOf(set, "first");
    expect(await kindOf(set, "made-up")).toBe("unknown");
    await issuer.away();
    clock.advance(10_000);
    expect(await kindOf(set, "made-up")).toBe("unavailable");
    expect(await kindOf(set, "first")).toBe("keys");
    // The timer finds out when it is back, also when nobody asks.
    issuer.back();
    clock.advance(5000);
    set.look();
    await until(() => set.trouble === null);
    expect(set.said).toEqual([expect.any(String), null]);
  });

  test("that come too late are not waited for longer than 2 s", async () => {
    const later = Promise.withResolvers<Response>();
    issuer.answer = () => later.promise;
    const set = keySet();
    expect(await set.find("first", "ES256")).toEqual({ kind: "unavailable", why: "its keys were not there within 2000 ms" });
    issuer.answer = null;
    later.resolve(Response.json({ keys: issuer.keys.map(({ published }) => published) }));
    await until(() => set.isUsable);
    expect(fetches()).toBe(1);
  });

  test.each([
    ["an error", () => new Response("no", { status: 500 }), "answered 500"],
    ["text", () => new Response("no"), "did not answer with JSON"],
    ["no keys", () => Response.json({}), "has no list of keys"],
    ["an empty set", () => Response.json({ keys: [] }), "has no key in it"],
    ["2 MB", () => new Response(new Uint8Array(2 * 1024 * 1024).fill(32)), "answered more than 1048576 bytes"],
    ["a redirect to itself", () => new Response(null, { status: 302, headers: { location: "/jwks" } }), "redirects more than 3 times"],
    ["a redirect to a file", () => new Response(null, { status: 302, headers: { location: "file:///etc/passwd" } }), "redirects to file:"],
    ["a redirect to nowhere", () => new Response(null, { status: 302, headers: { location: "http://[" } }), "redirects to what is no URL"],
  ])("are not there when the issuer answers with %s", async (_what, answer, why) => {
    issuer.answer = answer;
    const set = keySet();
    const found = await set.find("first", "ES256");
    expect(found).toMatchObject({ kind: "unavailable", why: expect.stringContaining(why) });
    expect(set.trouble).toContain(why);
  });

  test("may have moved within the web", async () => {
    const set = keySet(`${issuer.url}/old`);
    using old = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: () => new Response(null, { status: 307, headers: { location: `${issuer.url}/jwks` } }),
    });
    const moved = keySet(`http://127.0.0.1:${old.port}/jwks`);
    expect(await kindOf(moved, "first")).toBe("keys");
    expect(await kindOf(set, "first")).toBe("unavailable");
  });

  test("are not taken from an issuer that says it is another one, or that says nothing", async () => {
    const documents: object[] = [
      { issuer: "https://other.example.com", jwks_uri: `${issuer.url}/jwks` },
      { issuer: `${issuer.url}/`, jwks_uri: `${issuer.url}/jwks` },
      { issuer: "SELF" },
      { issuer: "SELF", jwks_uri: "file:///etc/passwd" },
      [],
    ];
    for (const document of documents) {
      using other = Bun.serve({
        hostname: "127.0.0.1",
        port: 0,
        fetch: (request) =>
          Response.json(
            "issuer" in document && document.issuer === "SELF" ? { ...document, issuer: new URL(request.url).origin } : document,
          ),
      });
      const set = new KeySet({ source: sourceOf({ issuer: `http://127.0.0.1:${other.port}`, jwks: null }), clock });
      expect(await kindOf(set, "first")).toBe("unavailable");
    }
    expect(issuer.asked).toEqual([]);
  });
});

test("what an issuer says of itself is told in a few words, however long it is", async () => {
  using other = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => Response.json({ issuer: "x".repeat(100_000) }) });
  const set = new KeySet({ source: sourceOf({ issuer: `http://127.0.0.1:${other.port}`, jwks: null }), clock });
  await set.find("first", "ES256");
  expect(set.trouble).toContain("is of another issuer");
  expect(set.trouble?.length).toBe(500);
});

describe("keys in a file", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "sluice-"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  test("are read again when the file changes", async () => {
    const file = join(folder, "keys.json");
    const write = (...keys: object[]) => writeFileSync(file, JSON.stringify({ keys }));
    write(issuer.keys[0]?.published ?? {});
    const set = keySet(file);
    expect(await kindOf(set, "first")).toBe("keys");
    const [second, third] = [await signingKey("second"), await signingKey("third")];
    write(second.published);
    clock.advance(5000);
    await until(async () => {
      set.look();
      return (await kindOf(set, "first")) === "unknown";
    });
    expect(await kindOf(set, "second")).toBe("keys");
    // A token by a key that is new in the file need not wait for that.
    clock.advance(10_000);
    write(second.published, third.published);
    expect(await kindOf(set, "third")).toBe("keys");
  });

  test("that is not there, or is none, say so", async () => {
    const file = join(folder, "keys.json");
    expect(await keySet(file).find("first", "ES256")).toMatchObject({ kind: "unavailable", why: expect.stringContaining("can't be read") });
    expect(await keySet("/dev/zero").find("first", "ES256")).toMatchObject({ kind: "unavailable", why: "/dev/zero is no file" });
    writeFileSync(file, "{");
    expect(await keySet(file).find("first", "ES256")).toMatchObject({ kind: "unavailable", why: `${file} is no JSON` });
    writeFileSync(file, " ".repeat(1024 * 1024 + 1));
    expect(await keySet(file).find("first", "ES256")).toMatchObject({
      kind: "unavailable",
      why: expect.stringContaining("more than 1048576 bytes"),
    });
  });
});

import { expect, test } from "bun:test";
import fc from "fast-check";
import type { Decision } from "../../src/authorize/asking.ts";
import { KeptDecisions, mayBeKept } from "../../src/authorize/kept.ts";
import { Fields } from "../../src/http/fields.ts";
import { FakeClock } from "../support/clock.ts";
import { responseOf } from "../support/exchange.ts";

const allowed = (user: string): Decision & { kind: "allowed" } => {
  const fields = new Fields();
  fields.add("X-User", "x-user", user);
  return { kind: "allowed", fields };
};
const refused = (status: number, headers: Record<string, string> = {}, body = "no"): Decision => ({
  kind: "refused",
  response: responseOf(status, headers, body),
});
const userOf = (decision: Decision | null) => (decision?.kind === "allowed" ? (decision.fields?.get("x-user") ?? null) : null);

test("a decision is given under its own key and until its time alone, whatever else is kept", () => {
  const step = fc.record({ key: fc.nat(30), wait: fc.nat(40), isPut: fc.boolean(), lasts: fc.integer({ min: 1, max: 300 }) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), fc.integer({ min: 4, max: 40 }), (steps, max) => {
      const clock = new FakeClock();
      const kept = new KeptDecisions(clock, max);
      const model = new Map<number, { user: string; until: number }>();
      for (const [i, { key, wait, isPut, lasts }] of steps.entries()) {
        clock.time += wait;
        if (isPut) {
          kept.put(String(key), allowed(`${key}-${i}`), lasts);
          model.set(key, { user: `${key}-${i}`, until: clock.now() + lasts });
          // What was kept just now is there.
          expect(userOf(kept.find(String(key)))).toBe(`${key}-${i}`);
        } else {
          const known = model.get(key);
          const found = userOf(kept.find(String(key)));
          // It may have had to leave, but is never another one's, an older one, or one that is over.
          if (found !== null) expect([found, clock.now() < (known?.until ?? 0)]).toEqual([known?.user ?? "", true]);
        }
        expect(kept.count).toBeLessThanOrEqual(max);
      }
    }),
  );
});

test("what is asked for again stays while others come, and all of it is bounded in bytes", () => {
  const kept = new KeptDecisions(new FakeClock(), 100, 100_000);
  kept.put("wanted", allowed("alice"), 1e6);
  for (let i = 0; i < 1000; i++) {
    kept.put(`other ${i}`, refused(403, {}, "x".repeat(4000)) as never, 1e6);
    expect(userOf(kept.find("wanted"))).toBe("alice");
    expect(kept.count).toBeLessThanOrEqual(25);
  }
  kept.put("huge", refused(403, {}, "x".repeat(60_000)) as never, 1e6);
  expect(kept.find("huge")).toBeNull();
});

test("2xx and 403 may be kept, but nothing that sets a cookie, and no failure", () => {
  const asked: [Decision, boolean][] = [
    [allowed("alice"), true],
    [{ kind: "allowed", fields: null }, true],
    [refused(403), true],
    [refused(403, { "Set-Cookie": "a=1" }), false],
    [refused(401), false],
    [refused(302), false],
    [refused(404), false],
    [{ kind: "failed", why: "away" }, false],
  ];
  for (const [decision, may] of asked) expect(mayBeKept(decision)).toBe(may);
});

test("what is kept is a copy: what the socket has read is not held by it", () => {
  const kept = new KeptDecisions(new FakeClock());
  const bytes = Buffer.from("no and more");
  kept.put("k", { kind: "refused", response: { ...responseOf(403), body: bytes.subarray(0, 2) } }, 1000);
  bytes.fill(120);
  const found = kept.find("k");
  expect(found?.kind === "refused" && found.response.body instanceof Uint8Array && Buffer.from(found.response.body).toString()).toBe("no");
});

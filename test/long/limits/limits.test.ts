// Limits over one table by several processes that are killed: never more than the limit, and nothing lost.
import { afterAll, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { align } from "../../../src/gateway/shared-table.ts";
import { algorithmsWith } from "../../../src/limits/algorithms/registry.ts";
import { compilePolicies, compileQuotas } from "../../../src/limits/policy.ts";
import type { LimitConfig, QuotaConfig } from "../../../src/limits/settings.ts";
import type { Ticket } from "../../../src/shared/members.ts";
import { openRegion } from "../../../src/shared/region.ts";
import { systemClock } from "../../../src/values/clock.ts";
import { overTable } from "../../support/limits.ts";
import { folder } from "../../support/process.ts";
import { ticketText } from "../../support/tickets.ts";
import type { Spec } from "./spec.ts";

const PROCESSES = 4;
const REQUESTS = 5000;
const LIMIT = 3000;
/** The limit under which processes are killed: enough for many of them to be killed within their work. */
const MANY = 100_000;
const KILLS = 24;
const scope = { kind: "tier" as const, name: "long" };

const data = folder();
afterAll(() => data[Symbol.dispose]());
let files = 0;

/** A table, and processes that count in it. */
function machine(limits: readonly LimitConfig[], quotas: readonly QuotaConfig[]) {
  const path = `${data.path}/${++files}-counts`;
  const notesPath = `${data.path}/${files}-notes`;
  writeFileSync(notesPath, new Uint8Array(64 * 4096));
  const notes = new Int32Array(Bun.mmap(notesPath).buffer);
  const region = openRegion(path, { maxSubjects: 1000 });
  expect(region.why).toBeNull();
  align(region.memory);
  const policies = [...compilePolicies(limits, scope), ...compileQuotas(quotas, scope)];
  let number = 0;
  const children: { readonly child: Bun.Subprocess; readonly ticket: Ticket; readonly number: number }[] = [];
  const spawn = (requests: number, holds: Spec["holds"]) => {
    const ticket = region.letWorker();
    if (ticket === null) throw new Error("no worker id is left");
    const spec: Spec = { limits, quotas, requests, holds };
    const args = [path, ticketText(ticket), notesPath, String(number), JSON.stringify(spec)];
    const child = Bun.spawn([process.execPath, `${import.meta.dir}/worker.ts`, ...args], { stdout: "inherit", stderr: "inherit" });
    const started = { child, ticket, number: number++ };
    children.push(started);
    // As a supervisor does.
    void child.exited.then(() => region.declareDead(ticket));
    return started;
  };
  const sum = (word: number) => Array.from({ length: number }, (_, i) => notes[16 * i + word] ?? 0).reduce((all, each) => all + each, 0);
  return {
    path,
    region,
    policies,
    children,
    spawn,
    /** The requests that were granted for certain, and those of which a kill left open whether they were. */
    granted: () => sum(1),
    unknown: () => sum(0),
    hasBegun: (n: number) => (notes[16 * n + 1] ?? 0) > 0 || notes[16 * n + 2] === 1,
    isDone: (n: number) => notes[16 * n + 2] === 1,
    used: () => {
      const { limiter, ticket } = overTable({ clock: systemClock, region });
      const [reading] = limiter.inspect(
        policies,
        policies.map(() => "everybody"),
      );
      region.declareDead(ticket);
      return reading?.used ?? 0;
    },
  };
}

// None of it comes back while the test runs.
const kinds: readonly (readonly [string, LimitConfig[], QuotaConfig[]])[] = [
  ...algorithmsWith(({ windowed }) => windowed).map(
    (algorithm) => [algorithm, [{ algorithm, limit: MANY, window: "300d" }], []] as [string, LimitConfig[], QuotaConfig[]],
  ),
  ["quota", [], [{ limit: MANY, period: "month" }]],
];

describe.each(kinds.map(([name, limits, quotas]) => ({ name, limits, quotas })))("$name", ({ limits, quotas }) => {
  test("several processes together grant exactly the limit", async () => {
    const it = machine(
      limits.map((limit) => ({ ...limit, limit: LIMIT })),
      quotas.map((quota) => ({ ...quota, limit: LIMIT })),
    );
    const all = Array.from({ length: PROCESSES }, () => it.spawn(REQUESTS, false));
    await Promise.all(all.map(({ child }) => child.exited));
    expect([it.granted(), it.unknown(), it.used()]).toEqual([LIMIT, 0, LIMIT]);
  });

  test("processes that are killed at random grant never more, lose nothing, and it stands so after all of them are gone", async () => {
    const it = machine(limits, quotas);
    const killOne = async (): Promise<void> => {
      const victim = it.spawn(MANY, false);
      while (!it.hasBegun(victim.number)) await Bun.sleep(1);
      await Bun.sleep(Math.random() * 3);
      victim.child.kill("SIGKILL");
      await victim.child.exited;
    };
    for (let kills = 0; kills < KILLS; kills += 2) await Promise.all([killOne(), killOne()]);
    await it.spawn(2 * MANY, false).child.exited;
    expect(it.used()).toBe(MANY);
    expect(it.granted()).toBeLessThanOrEqual(MANY);
    // Each that was killed may have been granted one of which it did not come to tell.
    expect(it.granted() + it.unknown()).toBeGreaterThanOrEqual(MANY);
    // All processes are gone: the file is what is left.
    it.region.close();
    const again = openRegion(it.path, { maxSubjects: 1000 });
    expect(again.isJoined).toBe(true);
    align(again.memory);
    const { limiter } = overTable({ clock: systemClock, region: again });
    const verdict = limiter.admit(
      it.policies,
      it.policies.map(() => "everybody"),
      1,
    );
    expect([verdict.allowed, verdict.readings[0]?.used]).toEqual([false, MANY]);
  });
});

test("what killed processes held of a concurrency limit is free, and what others hold stays held", async () => {
  const it = machine([{ algorithm: "concurrency", limit: 10 }], []);
  for (let round = 0; round < 5; round++) {
    const [one, other] = [it.spawn(4, "for ever"), it.spawn(4, "for ever")];
    while (!it.isDone(one.number) || !it.isDone(other.number)) await Bun.sleep(5);
    expect(it.used()).toBe(8);
    one.child.kill("SIGKILL");
    await one.child.exited;
    await Bun.sleep(0);
    expect(it.used()).toBe(4);
    const third = it.spawn(20, "for ever");
    while (!it.isDone(third.number)) await Bun.sleep(5);
    expect(it.used()).toBe(10);
    for (const { child } of [other, third]) child.kill("SIGKILL");
    await Promise.all([other.child.exited, third.child.exited]);
    await Bun.sleep(0);
    expect(it.used()).toBe(0);
  }
});

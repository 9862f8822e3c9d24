// A process that counts in a table that others count in as well: it asks, one request after another, and notes in shared memory how many it
// was granted before it asks again. `bun worker.ts PATH TICKET NOTES NUMBER SPEC`

import { align } from "../../../src/gateway/shared-table.ts";
import { LimiterUnavailable, type Verdict } from "../../../src/limits/limiter.ts";
import { compilePolicies, compileQuotas, type Policy } from "../../../src/limits/policy.ts";
import { SharedLimiter } from "../../../src/limits/shared/limiter.ts";
import { Logs } from "../../../src/limits/shared/logs.ts";
import { Chunks } from "../../../src/shared/chunks.ts";
import { joinRegion } from "../../../src/shared/region.ts";
import { Table } from "../../../src/shared/table.ts";
import { systemClock } from "../../../src/values/clock.ts";
import { parseTicket } from "../../support/tickets.ts";
import type { Spec } from "./spec.ts";

const [path = "", ticketText = "", notesPath = "", number = "0", specText = "{}"] = Bun.argv.slice(2);
const ticket = parseTicket(ticketText);
if (ticket === null) throw new Error(`no ticket: ${ticketText}`);
const { limits, quotas, requests, holds } = JSON.parse(specText) as Spec;

const region = joinRegion(path, ticket);
align(region.memory);
const table = new Table(region.memory, ticket);
const logs = new Logs(new Chunks(region, table));
const limiter = new SharedLimiter({ table, logs, clock: systemClock, isDegraded: () => false, durable: null });
const scope = { kind: "tier" as const, name: "long" };
const policies: Policy[] = [...compilePolicies(limits, scope), ...compileQuotas(quotas, scope)];
const subjects = policies.map(() => "everybody");

/** Asks until there is an answer: where cores are overloaded, another process may keep one waiting for too long. */
function admitted(): Verdict {
  for (;;)
    try {
      return limiter.admit(policies, subjects, 1);
    } catch (error) {
      if (!(error instanceof LimiterUnavailable)) throw error;
    }
}

const notes = new Int32Array(Bun.mmap(notesPath).buffer);
const at = 16 * Number(number);
// What is begun and what is known to be granted: at a kill they differ by the request under way.
for (let i = 0; i < requests; i++) {
  Atomics.add(notes, at, 1);
  const verdict = admitted();
  if (verdict.allowed) Atomics.add(notes, at + 1, 1);
  Atomics.sub(notes, at, 1);
  if (!holds) limiter.release(verdict);
  else if (verdict.allowed) {
    // In flight until the process ends.
    if (holds === "for ever") continue;
    limiter.release(verdict);
  }
}
Atomics.store(notes, at + 2, 1);
if (holds === "for ever") setInterval(() => {}, 1000);
else region.declareDead(ticket);

import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import fc from "fast-check";
import { SharedStrikes } from "../../src/guard/shared-strikes.ts";
import { MemoryStrikes } from "../../src/guard/strikes.ts";
import { openRegion } from "../../src/shared/region.ts";
import { Table } from "../../src/shared/table.ts";
import { folder } from "../support/process.ts";
import { ticketText } from "../support/tickets.ts";

const PROGRAM = join(import.meta.dir, "../support/shared-program.ts");

function striking() {
  const region = openRegion(null, { maxSubjects: 10_000 });
  const ticket = region.becomeWorker();
  if (ticket === null) throw new Error("no id");
  return new SharedStrikes(new Table(region.memory, ticket));
}

describe("strikes in the table that processes share", () => {
  test("are what one process counts in its memory", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 12 }),
        fc.array(fc.tuple(fc.integer({ min: 0, max: 2 }), fc.integer({ min: 0, max: 400 })), { maxLength: 120 }),
        (limit, steps) => {
          const [ours, theirs] = [striking(), new MemoryStrikes()];
          let now = 1_000_000;
          for (const [who, wait] of steps) {
            now += wait;
            const subject = `10.0.0.${who}`;
            expect(ours.count(subject, limit, 1000, now)).toBe(theirs.count(subject, limit, 1000, now));
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  test("begin anew where the limit was changed", () => {
    const strikes = striking();
    const count = (limit: number, times: number) => Array.from({ length: times }, () => strikes.count("a", limit, 1000, 5000));
    expect(count(4, 3)).toEqual([false, false, false]);
    expect(count(3, 3)).toEqual([false, false, true]);
  });

  test("of three processes make exactly one last one of each ten", async () => {
    using home = folder();
    const path = join(home.path, "table");
    const region = openRegion(path, { maxSubjects: 10_000 });
    expect(region.path).toBe(path);
    const lasts = await Promise.all(
      [0, 1, 2].map(async () => {
        const ticket = region.letWorker();
        if (ticket === null) throw new Error("no id");
        const child = Bun.spawn([process.execPath, PROGRAM, path, ticketText(ticket), "strike", "7000"], {
          stdout: "pipe",
          stderr: "inherit",
        });
        const lines = (await new Response(child.stdout).text()).trim().split("\n");
        expect(await child.exited).toBe(0);
        return (JSON.parse(lines.at(-1) ?? "{}") as { last: number }).last;
      }),
    );
    // Seven addresses with 3,000 strikes each.
    expect(lasts.reduce((sum, each) => sum + each, 0)).toBe(2100);
    region.close();
  }, 30_000);
});

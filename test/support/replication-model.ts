import fc from "fast-check";
import type { Redis } from "ioredis";
import { patience } from "./patience.ts";
import { FAULTS, type Fault, RECORDS, World } from "./replicas.ts";

/** Runs sequences of changes, faults and losses over instances that share records, and compares what comes out with what was promised. */

/** The model's own state stands in the world: what was acknowledged, by whom, on what. */
type Model = Record<string, never>;
type Command = fc.AsyncCommand<Model, World>;

/** A command that can always be given. */
const command = (name: string, run: (world: World) => Promise<void> | void): Command => ({
  check: () => true,
  run: async (_, world) => run(world),
  toString: () => name,
});

const instance = fc.nat(2);
const record = fc.constantFrom(...RECORDS);
const deletes = fc.boolean();

/** Another instance than that one, which waits. */
const otherThan = (by: number, i: number, world: World): number => (by + 1 + (i % (world.instances.length - 1))) % world.instances.length;

/** What happens at others while one waits between two steps. */
const meanwhile: fc.Arbitrary<{ name: string; run: (by: number) => (world: World) => Promise<void> }> = fc.oneof(
  fc.record({ i: fc.nat(1), record, deletes }).map(({ i, record, deletes }) => ({
    name: `other+${i} ${deletes ? "deletes" : "writes"} ${record}`,
    run: (by: number) => (world: World) => world.write(otherThan(by, i, world), record, deletes, null),
  })),
  fc.record({ i: fc.nat(1) }).map(({ i }) => ({
    name: `other+${i} catches up`,
    run: (by: number) => (world: World) => world.catchUp(otherThan(by, i, world), null),
  })),
  fc.constant({ name: "Redis is emptied", run: () => (world: World) => world.empty() }),
  fc.nat(1).map((back) => ({ name: `Redis starts with snapshot ${back}`, run: () => (world: World) => world.startRedisAgain(back) })),
  fc.constant({ name: "the stream is trimmed", run: () => (world: World) => world.trim() }),
);

interface Planned {
  readonly name: string;
  of(by: number): Fault | null;
}
const fault: fc.Arbitrary<Planned> = fc.option(
  fc.record({ at: fc.nat(18), what: fc.constantFrom(...FAULTS), meanwhile }).map(({ at, what, meanwhile }) => ({
    name: ` [${what} at ${at}${what === "pause" ? `: ${meanwhile.name}` : ""}]`,
    of: (by: number) => ({ at, what, meanwhile: meanwhile.run(by) }),
  })),
  { nil: { name: "", of: () => null } },
);

const write = fc
  .record({ i: instance, record, deletes, fault })
  .map(({ i, record, deletes, fault }) =>
    command(`${i} ${deletes ? "deletes" : "writes"} ${record}${fault.name}`, (world) =>
      world.write(i % world.instances.length, record, deletes, fault.of(i % world.instances.length)),
    ),
  );
const local = fc
  .record({ i: instance, record, deletes })
  .map(({ i, record, deletes }) =>
    command(`${i} by itself ${deletes ? "deletes" : "writes"} ${record}`, (world) => world.local(i, record, deletes)),
  );
const catchUp = fc
  .record({ i: instance, fault })
  .map(({ i, fault }) =>
    command(`${i} catches up${fault.name}`, (world) => world.catchUp(i % world.instances.length, fault.of(i % world.instances.length))),
  );

export const commands = (maxCommands: number) =>
  fc.commands(
    [
      write,
      write,
      local,
      catchUp,
      catchUp,
      instance.map((i) => command(`${i} is cut off`, (world) => world.cut(i))),
      instance.map((i) => command(`${i} is mended`, (world) => world.mend(i))),
      instance.map((i) =>
        command(`${i} is mended and catches up`, (world) => {
          world.mend(i);
          return world.catchUp(i, null);
        }),
      ),
      instance.map((i) => command(`${i} is restarted`, (world) => world.restart(i))),
      fc.constant(command("Redis is emptied", (world) => world.empty())),
      fc.constant(command("snapshot", (world) => world.snapshot())),
      fc.nat(1).map((back) => command(`Redis starts with snapshot ${back}`, (world) => world.startRedisAgain(back))),
      fc.constant(command("the stream is trimmed", (world) => world.trim())),
      instance.map((i) => command(`${i} replaces what all share`, (world) => world.replaceShared(i))),
    ],
    { maxCommands, size: "max" },
  );

/** Milliseconds that one sequence may take on an idle small server. */
const STUCK_AFTER = 10_000;

export interface Runs {
  readonly sequences: number;
  readonly maxCommands: number;
  readonly seed?: number;
  /** Milliseconds after which no further sequence is begun. */
  readonly within?: number;
}

/** Runs that many sequences. Throws the shortest one found after which something is not as promised. Gives how many were run. */
export async function runModel(redis: Redis, { sequences, maxCommands, seed, within }: Runs): Promise<number> {
  let runs = 0;
  const start = fc.record({
    instances: fc.constantFrom(2, 3),
    lateBy: fc.nat(12),
    isCluster: fc.boolean(),
    old: fc.array(fc.record({ i: instance, record }), { maxLength: 4 }),
  });
  await fc.assert(
    fc.asyncProperty(start, commands(maxCommands), async ({ instances, lateBy, isCluster, old }, steps) => {
      runs++;
      const world = new World(redis, instances, lateBy, isCluster);
      try {
        for (const { i, record } of old) world.old(i, record);
        await fc.asyncModelRun(() => ({ model: {}, real: world }), steps);
        await world.settle();
        await world.check();
      } finally {
        await world.close();
      }
    }),
    {
      numRuns: sequences,
      // One that hangs is a fault as well.
      timeout: patience(STUCK_AFTER),
      ...(seed === undefined ? {} : { seed }),
      ...(within === undefined ? {} : { interruptAfterTimeLimit: within, markInterruptAsFailure: false }),
    },
  );
  return runs;
}

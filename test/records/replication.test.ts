import { expect, spyOn } from "bun:test";
import { having } from "../support/programs.ts";
import { type RedisServer, redisServer } from "../support/redis.ts";
import { type Fault, World } from "../support/replicas.ts";
import { runModel } from "../support/replication-model.ts";

const { afterAll, beforeAll, describe, test } = having("redis-server");

let server: RedisServer;
beforeAll(async () => {
  server = await redisServer();
});
afterAll(() => server[Symbol.asyncDispose]());

test("whatever fails between two steps, all instances end with the same records, nothing acknowledged is lost and nothing deleted comes back", async () => {
  const runs = await runModel(server.client, { sequences: 200, maxCommands: 20, within: 5000 });
  expect(runs).toBeGreaterThan(10);
});

/** Does something in a world of two instances, and lets all of them settle. Throws when something is not as promised; gives what both have of a record at last. */
async function after(work: (world: World) => Promise<void>): Promise<number | null> {
  const world = new World(server.client, 2, 0);
  try {
    await work(world);
    await world.settle();
    await world.check();
    return world.at(0).valueOf("consumer c1");
  } finally {
    await world.close();
  }
}
const meanwhile = (at: number, run: (world: World) => Promise<void>): Fault => ({ at, what: "pause", meanwhile: run });
/** The step of a write that passes on what was changed, when its instance has seen all before: the lock takes two, the look and the stream one each, the caller's work two. */
const PASSED_ON = 6;

// Each of these was once not so; the model found it.
describe("replication", () => {
  test("who was away and is the first to fill Redis again gives no version that another has given", async () => {
    await after(async (world) => {
      await world.write(0, "consumer c1", false, null);
      await world.empty();
      world.old(1, "consumer c1");
      await world.catchUp(1, null);
    });
  });

  test("a write whose lock ran out is refused and undone when another has written meanwhile", async () => {
    const value = await after(async (world) => {
      await world.catchUp(0, null);
      await world.write(
        0,
        "consumer c1",
        false,
        meanwhile(PASSED_ON, (world) => world.write(1, "consumer c1", false, null)),
      );
      expect(world.counts.refused).toBe(1);
    });
    expect(value).not.toBeNull();
  });

  test("records from before there was a Redis are shared also when the first comparison is cut off", async () => {
    for (let at = 0; at < 8; at++)
      expect(
        await after(async (world) => {
          world.old(1, "consumer c1");
          await world.catchUp(1, { at, what: "before" });
        }),
      ).not.toBeNull();
  });

  test("a record is not deleted because Redis was emptied while it was written", async () => {
    const value = await after(async (world) => {
      await world.write(0, "consumer c1", false, null);
      await world.catchUp(0, null);
      await world.catchUp(1, null);
      await world.write(
        0,
        "consumer c1",
        false,
        meanwhile(PASSED_ON, (world) => world.empty()),
      );
    });
    expect(value).not.toBeNull();
  });

  test("what an instance decided by itself stays when a write after it is refused", async () => {
    for (const at of [PASSED_ON, PASSED_ON + 1])
      await after(async (world) => {
        await world.catchUp(0, null);
        world.local(0, "block 10.0.0.1", false);
        await world.write(
          0,
          "consumer c1",
          false,
          meanwhile(at, (world) => world.write(1, "tier t1", false, null)),
        );
        expect(world.at(0).valueOf("block 10.0.0.1")).not.toBeNull();
      });
  });

  test("a deleted record does not come back by an older change of one that was cut off and is the first in an emptied Redis", async () => {
    const value = await after(async (world) => {
      await world.write(0, "consumer c1", false, null);
      await world.catchUp(1, null);
      world.cut(1);
      world.local(1, "consumer c1", false);
      await world.write(0, "consumer c1", true, null);
      await world.empty();
      world.mend(1);
      await world.catchUp(1, null);
    });
    expect(value).toBeNull();
  });

  test("a change that is made after one whose answer was lost is not undone", async () => {
    await after(async (world) => {
      await world.write(0, "consumer c1", false, null);
      await world.catchUp(0, null);
      await world.write(0, "consumer c1", false, { at: PASSED_ON, what: "after" });
      world.mend(0);
      await world.write(0, "consumer c1", false, null);
    });
  });

  test("a change whose answer was lost is not passed on once more over what others have made of it", async () => {
    for (let at = 0; at < 14; at++)
      for (const isFirst of [true, false])
        await after(async (world) => {
          if (!isFirst) {
            await world.catchUp(0, null);
            await world.catchUp(1, null);
          }
          world.local(0, "tier t1", false);
          await world.catchUp(0, { at, what: "after" });
          await world.catchUp(1, null);
          world.local(1, "tier t1", false);
          world.mend(0);
          await world.catchUp(0, null);
        });
  });

  test("a write is not acknowledged when another's own decision came first", async () => {
    await after(async (world) => {
      await world.catchUp(0, null);
      await world.catchUp(1, null);
      world.local(1, "block 10.0.0.1", false);
      const { instances } = world;
      await world.write(0, "block 10.0.0.1", false, {
        at: PASSED_ON - 1,
        what: "pause",
        keepsLock: true,
        meanwhile: () => (instances[1] as (typeof instances)[0]).replication.catchUp(),
      });
      expect(world.counts.refused).toBe(1);
    });
  });

  test("a record from before there was a Redis can be changed whatever version chance has given it", async () => {
    await after(async (world) => {
      world.old(0, "consumer c1");
      const chance = spyOn(Math, "random").mockReturnValue(9.3e-7);
      await world.catchUp(0, null);
      chance.mockRestore();
      await world.write(1, "consumer c1", false, null);
      expect(world.counts.refused).toBe(0);
    });
  });

  test("what was deleted before it replaces what all share stays deleted, also when Redis has lost it", async () => {
    await after(async (world) => {
      await world.write(0, "consumer c1", false, null);
      await world.catchUp(1, null);
      await world.write(0, "consumer c1", true, null);
      await world.empty();
      await world.replaceShared(0);
      expect(await server.client.hexists(`${world.prefix}:{records}:all`, "consumer\nc1")).toBe(1);
    });
  });
});

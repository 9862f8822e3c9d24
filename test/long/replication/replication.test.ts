import { expect } from "bun:test";
import { having } from "../../support/programs.ts";
import { type RedisServer, redisServer } from "../../support/redis.ts";
import { runModel } from "../../support/replication-model.ts";

const { afterAll, beforeAll, test } = having("redis-server");

/** Milliseconds for each test. */
const WITHIN = 60_000;

let server: RedisServer;
beforeAll(async () => {
  server = await redisServer();
});
afterAll(() => server[Symbol.asyncDispose]());

test.each([
  [8, "few"],
  [25, "some"],
  [60, "many"],
])("records are the same everywhere after any sequence of up to %i changes, faults and losses (%s)", async (maxCommands) => {
  const runs = await runModel(server.client, { sequences: 1_000_000, maxCommands, within: WITHIN });
  console.log(`${runs} sequences`);
  expect(runs).toBeGreaterThan(100);
});

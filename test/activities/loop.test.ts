import { expect, test } from "bun:test";
import { Loop } from "../../src/activities/loop.ts";

test("a loop that is woken during a step takes another one, though that step found nothing to do for a while", async () => {
  const second = Promise.withResolvers<void>();
  let steps = 0;
  const loop = new Loop(
    async () => {
      if (++steps === 1) loop.wake();
      else second.resolve();
      return 3_600_000;
    },
    () => 0,
  );
  loop.wake();
  await second.promise;
  await loop.stop();
  expect(steps).toBe(2);
});

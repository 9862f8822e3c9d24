import { expect, test } from "bun:test";
import { countRepository } from "../../src/limits/repository.ts";
import { openStorage } from "../../src/storage/open.ts";
import { FakeClock } from "../support/clock.ts";

test("stored counts go when they are over, and those of the policy with the most beyond the bound, the first to end first", () => {
  const storage = openStorage(":memory:");
  const clock = new FakeClock();
  const now = clock.wall();
  const counts = countRepository(storage, clock);
  const row = (policy: string, subject: string, expiresAt: number) => ({ policy, subject, state: `{"of":"${subject}"}`, expiresAt });
  counts.save([row("quota", "acme", now + 50), row("quota", "over", now)]);
  counts.save(Array.from({ length: 10 }, (_, i) => row("flood", `s${i}`, now + 100 + i)));
  counts.prune(8);
  expect([...counts.load(100)].map(({ subject }) => subject).sort()).toEqual(["acme", "s3", "s4", "s5", "s6", "s7", "s8", "s9"]);
  expect([counts.find("quota", "acme"), counts.find("quota", "over"), counts.find("flood", "acme")]).toEqual(['{"of":"acme"}', null, null]);
  expect([...counts.load(3)].map(({ subject }) => subject)).toEqual(["s9", "s8", "s7"]);
  storage.close();
});

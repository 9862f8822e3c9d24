import { test } from "bun:test";
import { countCellsUnderKills } from "../../support/cells-kills.ts";
import { countUsageUnderKills } from "../../support/usage-kills.ts";

test("usage is in the database once after a hundred kills at random", async () => {
  await countUsageUnderKills(100);
}, 1_200_000);

test("sums are what all processes have counted after a hundred kills at random", async () => {
  await countCellsUnderKills(100);
}, 1_200_000);

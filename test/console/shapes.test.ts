import { expect, test } from "bun:test";
import type { Static } from "@sinclair/typebox";
import type { Role } from "../../src/admin/rights.ts";
import type { Role as PageRole } from "../../src/console/page/role.ts";
import type { Explained, Match, ModelList, PriceList, Refusal, Stats, Walked } from "../../src/console/page/shapes.ts";
import type { ExplainAnswer } from "../../src/explain/admin.ts";
import type { Found } from "../../src/explain/find.ts";
import type { Refusal as RefusalAnswer } from "../../src/explain/refusals.ts";
import type { WalkedAnswer } from "../../src/explain/walk.ts";
import type { ModelsAnswer } from "../../src/models/admin.ts";
import type { PricesAnswer } from "../../src/prices/admin.ts";
import type { StatsAnswer } from "../../src/stats/admin.ts";

/** Fails to compile when the gateway's answer is no more what the page reads of it. */
const reads = <Page, _Answer extends Page>(): true => true;

test("the page reads what the gateway answers", () => {
  expect(reads<Stats, StatsAnswer>()).toBe(true);
  expect(reads<Refusal, RefusalAnswer>()).toBe(true);
  expect(reads<Explained, ExplainAnswer>()).toBe(true);
  expect(reads<Walked, WalkedAnswer>()).toBe(true);
  expect(reads<ModelList, ModelsAnswer>()).toBe(true);
  expect(reads<PriceList, PricesAnswer>()).toBe(true);
  expect(reads<readonly Match[], Static<typeof Found>["matches"]>()).toBe(true);
});

test("the page knows the roles", () => {
  expect(reads<PageRole, Role>() && reads<Role, PageRole>()).toBe(true);
});

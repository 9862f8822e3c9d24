import { expect, test } from "bun:test";
import { AdminTokens } from "../../src/admin/tokens.ts";
import { Audit } from "../../src/audit/audit.ts";
import type { ConsumerEntry } from "../../src/keys/registry.ts";
import { Links } from "../../src/selfservice/links.ts";
import { Sessions } from "../../src/sessions/sessions.ts";
import { openStorage } from "../../src/storage/open.ts";
import { FakeClock } from "../support/clock.ts";

const TTL = 3_600_000;
const FROM = { ip: "127.0.0.1", id: "a-request" };

test("links and what they let in end with the token of SLUICE_ADMIN_TOKEN that made them; without a token they last their time", () => {
  const storage = openStorage(":memory:");
  const clock = new FakeClock();
  const audit = new Audit({ storage, clock });
  const sessions = new Sessions({ storage, clock });
  const acme: ConsumerEntry = { id: "acme", tier: "pro", enabled: true, limits: null, quota: null, models: null };
  /** As a start with this token has them. */
  const startedWith = (given: string) => {
    const { tokens } = AdminTokens.open({ storage, clock, audit }, given);
    return {
      mark: tokens.find(given)?.mark ?? "",
      links: new Links({ sessions, audit, registry: { consumer: () => acme }, tokens, whyNot: () => null }),
    };
  };
  const before = startedWith("a-token-0123456789");
  const linkBy = (token: string | null): string => before.links.make("acme", TTL, token).path.slice("/my#link=".length);
  const [ours, theirs] = [before.mark, null].map((token) => before.links.open(linkBy(token), FROM)?.id ?? "") as [string, string];
  const unopened = [before.mark, null].map(linkBy);
  expect([ours, theirs].map((id) => before.links.find(id) !== null)).toEqual([true, true]);
  const after = startedWith("another-token-0123456789");
  expect([ours, theirs].map((id) => after.links.find(id) !== null)).toEqual([false, true]);
  expect(unopened.map((link) => after.links.open(link, FROM) !== null)).toEqual([false, true]);
  storage.close();
});

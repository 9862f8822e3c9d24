import { expect, test } from "bun:test";
import { join } from "node:path";
import { type Change, ChangeFeed } from "../../src/records/changes.ts";
import { openStorage } from "../../src/storage/open.ts";
import { folder } from "../support/process.ts";

test("a feed tells what another connection has changed, in order and once, and forgets it after a while", () => {
  using home = folder();
  const path = join(home.path, "sluice.db");
  const [ours, theirs] = [openStorage(path), openStorage(path)];
  const told: string[] = [];
  const feed = new ChangeFeed(ours);
  const tell = (changes: readonly Change[]) => {
    for (const { kind, id, was } of changes) told.push(`${kind} ${id}${was === null ? "" : ` was ${was}`}`);
  };
  const key = (id: string, hash: string) =>
    theirs.client.run(
      `INSERT INTO keys (id, hash, start, "end", consumer, enabled, version, created_at, updated_at) VALUES ('${id}', '${hash}', '', '', 'c', 1, 1, 0, 0)`,
    );
  feed.poll(tell);
  expect(told).toEqual([]);
  theirs.client.run("INSERT INTO consumers (id, tier, enabled, version, created_at, updated_at) VALUES ('c', 't', 1, 1, 0, 0)");
  key("k", "h1");
  theirs.client.run("UPDATE keys SET hash = 'h2', version = 2 WHERE id = 'k'");
  // When a key was used last is nobody else's business.
  theirs.client.run("UPDATE keys SET last_used_at = 5 WHERE id = 'k'");
  theirs.client.run("DELETE FROM keys WHERE id = 'k'");
  theirs.client.run("INSERT INTO blocks (cidr, reason, by, created_at) VALUES ('10.0.0.0/8', '', '', 0)");
  feed.poll(tell);
  feed.poll(tell);
  expect(told).toEqual(["consumer c", "key k", "key k was h1", "key k was h2", "block 10.0.0.0/8"]);

  theirs.client.transaction(() => {
    for (let i = 0; i < 25_000; i++) key(`k${i}`, `h${i}`);
  })();
  const count = () => ours.client.query<{ n: number }, []>("SELECT count(*) AS n FROM changes").get()?.n;
  feed.prune(Date.now(), false);
  expect(count()).toBe(25_005);
  feed.prune(Date.now() + 601_000, false);
  expect(count()).toBe(5005);
  feed.prune(Date.now() + 601_000, false);
  expect(count()).toBe(0);
  ours.close();
  theirs.close();
});

import { expect, test } from "bun:test";
import { join } from "node:path";
import { loadConfig } from "../../src/config/load.ts";
import { openGround } from "../../src/gateway/ground.ts";
import { openScope } from "../../src/gateway/scope.ts";
import { systemClock } from "../../src/values/clock.ts";
import { folder } from "../support/process.ts";

/** The ground of a gateway on a database of its own, whose faults are kept. */
function ground(path: string) {
  const loaded = loadConfig("{}", {});
  if ("faults" in loaded) throw new Error(JSON.stringify(loaded.faults));
  const faults: unknown[] = [];
  const scope = openScope((error) => faults.push(error));
  const options = { config: loaded.config, file: null, databasePath: path, adminToken: undefined, log: null, clock: systemClock };
  return { faults, scope, opened: openGround(scope, { ...options, onFault: (error) => faults.push(error) }) };
}

/** Waits until `isSo`. */
async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await Bun.sleep(2);
}

test("a timer's write that finds the disk full raises the warning, and is told nowhere else", async () => {
  using home = folder();
  const { faults, scope, opened } = ground(join(home.path, "data.db"));
  const { client } = opened.storage;
  const { page_count: pages } = client.query("PRAGMA page_count").get() as { page_count: number };
  client.run(`PRAGMA max_page_count = ${pages}`);
  let writes = 0;
  opened.every(1, () => {
    writes++;
    client.query("INSERT OR REPLACE INTO configurations (id, text, at) VALUES (0, ?1, 0)").run("0".repeat(100_000));
  });
  await until(() => writes > 3);
  await scope.close();
  expect(opened.warnings.all().map(({ code }) => code)).toEqual(["storageReadOnly"]);
  expect(faults).toEqual([]);
});

test("a fault in a timer is told, and its work goes on", async () => {
  const { faults, scope, opened } = ground(":memory:");
  let times = 0;
  opened.every(1, () => {
    times++;
    throw new Error(`time ${times}`);
  });
  await until(() => times > 2);
  await scope.close();
  expect(faults.slice(0, 2).map(String)).toEqual(["Error: time 1", "Error: time 2"]);
});

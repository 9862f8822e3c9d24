import { expect } from "bun:test";
import { resolve } from "node:path";
import { postgresServer } from "../../support/postgres.ts";
import { ADMIN_TOKEN, start } from "../../support/process.ts";
import { having } from "../../support/programs.ts";

const { test } = having("postgres");

const load = async (cwd: string, args: readonly string[]) => {
  const child = Bun.spawn([process.execPath, resolve(import.meta.dir, "../../../scripts/load-activities.ts"), ...args], {
    cwd,
    env: { PATH: "/nonexistent", SLUICE_ADMIN_TOKEN: ADMIN_TOKEN },
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, status] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text(), child.exited]);
  return { status, stdout, stderr };
};

test("a load of activities checks the tables of a sink in PostgreSQL, and tells of rows that are not as they were sent", async () => {
  await using postgres = await postgresServer();
  await using gateway = await start({
    config: { tiers: { anonymous: { limits: [] } }, activities: { auth: "none", sinks: [{ type: "postgres", url: postgres.url }] } },
  });
  const args = ["--url", gateway.url, "--postgres", postgres.url, "--batch", "10", "--duration", "4", "--report", "none"];
  const well = await load(gateway.folder, args);
  expect([well.status, well.stderr]).toEqual([0, ""]);
  expect(well.stdout).toMatch(/[1-9]\d* rows are there, each once and as it was sent \(PostgreSQL 127\.0\.0\.1/);

  // Somebody else writes to the table meanwhile.
  const sql = postgres.client();
  const running = load(gateway.folder, args);
  let table: string | undefined;
  for (const known = new Set<string>(); table === undefined; ) {
    const rows = (await sql`SELECT tablename AS name FROM pg_tables WHERE tablename LIKE 'load\\_%' ORDER BY 1`) as { name: string }[];
    if (known.size === 0) for (const { name } of rows.slice(0, 1)) known.add(name);
    table = rows.map(({ name }) => name).find((name) => !known.has(name));
    await Bun.sleep(20);
  }
  await sql.unsafe(`INSERT INTO "${table}" (id, name, price) VALUES (-1, 'a stranger', 1)`);
  const meddled = await running;
  expect([meddled.status, meddled.stderr]).toEqual([1, ""]);
  expect(meddled.stdout).toMatch(/1 rows are wrong: row -1 should not be there/);
}, 120_000);

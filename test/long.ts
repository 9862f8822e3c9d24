// Runs what takes long or needs more than bun and redis-server: one folder of `test/long` is one area.
// `bun run test:long` runs all of them, `bun run test:long AREA` one. Closes with `N passed, N failed`.
import { existsSync, readdirSync, statSync } from "node:fs";

const folder = `${import.meta.dir}/long`;
const all = existsSync(folder) ? readdirSync(folder).filter((name) => statSync(`${folder}/${name}`).isDirectory()) : [];
if (all.length === 0) {
  console.log("There are no long tests.\n0 passed, 0 failed");
  process.exit(0);
}
const wanted = Bun.argv.slice(2);
const unknown = wanted.filter((area) => !all.includes(area));
if (unknown.length > 0) {
  console.error(`There is no area ${unknown.join(", ")}; there are ${all.join(", ")}.`);
  process.exit(2);
}
let passed = 0;
let failed = 0;
let skipped = 0;
for (const area of wanted.length > 0 ? wanted : all) {
  console.log(`\n# ${area}`);
  // One area at a time: what they measure would otherwise be each other.
  const run = Bun.spawn(["bun", `${import.meta.dir}/ci.ts`, `test/long/${area}/`], {
    stdout: "pipe",
    stderr: "inherit",
    env: {
      ...process.env,
      SLUICE_BINARY: process.env.SLUICE_BINARY ?? "dist/sluice",
      SLUICE_TEST_PARALLEL: "1",
      SLUICE_TEST_TIMEOUT: "600000",
    },
  });
  const text = await new Response(run.stdout).text();
  process.stdout.write(text);
  const counts = /(\d+) passed, (\d+) failed(?:, (\d+) skipped)?\s*$/.exec(text);
  passed += Number(counts?.[1] ?? 0);
  failed += counts === null ? 1 : Number(counts[2]);
  skipped += Number(counts?.[3] ?? 0);
  await run.exited;
}
console.log(`${passed} passed, ${failed} failed${skipped === 0 ? "" : `, ${skipped} skipped`}`);
process.exit(failed === 0 && passed + skipped > 0 ? 0 : 1);

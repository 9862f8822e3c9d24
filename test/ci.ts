// Runs `bun test` and closes with `N passed, N failed`. A run that was cut short (a test that ended the process, a file that did not load) counts as failed.
// What takes long has a command of its own (test/long.ts).
const areas = Bun.argv.length > 2 ? Bun.argv.slice(2) : ["--path-ignore-patterns=test/long/**"];
const run = Bun.spawn(
  [
    "bun",
    "test",
    `--parallel=${process.env.SLUICE_TEST_PARALLEL ?? 3}`,
    `--timeout=${process.env.SLUICE_TEST_TIMEOUT ?? 20_000}`,
    ...areas,
  ],
  {
    stdout: "inherit",
    stderr: "pipe",
    env: process.env,
  },
);
const decoder = new TextDecoder();
let tail = "";
for await (const chunk of run.stderr) {
  process.stderr.write(chunk);
  tail = (tail + decoder.decode(chunk, { stream: true })).slice(-4000);
}
const status = await run.exited;
const count = (word: string): number => Number(new RegExp(`^\\s*(\\d+) ${word}$`, "m").exec(tail)?.[1] ?? 0);
const isComplete = /^Ran \d+ tests? across \d+ files?/m.test(tail);
const passed = count("pass");
const skipped = count("skip") + count("todo");
// A skipped test is one that nobody would miss if it broke.
const failed = Math.max(count("fail") + skipped, status === 0 && isComplete && passed > 0 ? 0 : 1);
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);

// Runs `bun test` and closes with `N passed, N failed`, before that why: each test that failed with the last lines of what it said, how many ran out of time,
// and which can't run because a program is not here.
// Those count as failed with CI=true; elsewhere the last line is then `N passed, N failed, N skipped`. Any other skipped test counts as failed: nobody would miss it if it broke.
// A run that was cut short (a test that ended the process, a file that did not load) counts as failed. What takes long has a command of its own (test/long.ts).
import { BOUND, measure, slowness } from "./support/patience.ts";

const LINES_OF_FAILURE = 30;
const parallel = Number(process.env.SLUICE_TEST_PARALLEL ?? 3);
const areas = Bun.argv.length > 2 ? Bun.argv.slice(2) : ["--path-ignore-patterns=test/long/**"];

/** Measures this machine with as many at work as there will be. */
async function measureAll(): Promise<number> {
  const script = `import { measure } from ${JSON.stringify(`${import.meta.dir}/support/patience.ts`)}; console.log(measure())`;
  const runs = Array.from({ length: parallel }, () => Bun.spawn([process.execPath, "-e", script], { stdout: "pipe", stderr: "inherit" }));
  const times = await Promise.all(runs.map(async (run) => Number(await new Response(run.stdout).text())));
  // A measurement that failed: this process is measured instead.
  return Math.max(...times) || measure();
}
const slow = Number(process.env.SLUICE_TEST_SLOWNESS) || slowness(await measureAll());
/** How long a test may take, in milliseconds. Told by a flag: what test/support/preload.ts sets holds for the first file of a process alone. */
const bound = Number(process.env.SLUICE_TEST_TIMEOUT) || Math.round(BOUND * slow);
const env = { ...process.env, SLUICE_TEST_SLOWNESS: String(slow) };
if (slow > 1.5)
  console.error(`This machine is ${slow.toFixed(1)} times slower now than an idle small server: tests get as much more time.`);

const run = Bun.spawn(["bun", "test", `--parallel=${parallel}`, `--timeout=${bound}`, ...areas], {
  stdout: "inherit",
  stderr: "pipe",
  env,
});
const decoder = new TextDecoder();
let text = "";
for await (const chunk of run.stderr) {
  process.stderr.write(chunk);
  text += decoder.decode(chunk, { stream: true });
}
const status = await run.exited;
const tail = text.slice(-4000);
const count = (word: string): number => Number(new RegExp(`^\\s*(\\d+) ${word}$`, "m").exec(tail)?.[1] ?? 0);
const isComplete = /^Ran \d+ tests? across \d+ files?/m.test(tail);
const passed = count("pass");

/** Tests that can't run here, by the line that says why. */
const spared = new Map<string, number>();
for (const [, program = "", install = ""] of text.matchAll(/^\(skip\) .*\[([\w-]+) is not here: ([^\]]+)\]/gm)) {
  const key = `${program}\0${install}`;
  spared.set(key, (spared.get(key) ?? 0) + 1);
}
const unable = [...spared.values()].reduce((sum, each) => sum + each, 0);
const isSpared = unable > 0 && !process.env.CI;
const silent = count("skip") + count("todo") - unable;
const wrong = count("fail") + silent + (isSpared ? 0 : unable);
const failed = Math.max(wrong, status === 0 && isComplete && passed + unable > 0 ? 0 : 1);

/** Tells each test that failed, with its file and what it said last: a reader of a long run has its end before their eyes. */
function tellFailed(): void {
  let file = "";
  let said: string[] = [];
  // Bun names them once more at its end.
  for (const line of text.replace(/^\d+ tests? failed:\n[\s\S]*/m, "").split("\n")) {
    const heading = /^(test\/\S+\.ts):$/.exec(line);
    if (heading !== null) file = heading[1] ?? "";
    if (heading !== null || /^\((pass|skip|todo)\) /.test(line)) said = [];
    else if (!line.startsWith("(fail) ")) said.push(line);
    else {
      console.log(`\nFailed: ${file}: ${line.slice("(fail) ".length)}`);
      for (const each of said.slice(-LINES_OF_FAILURE)) console.log(`  | ${each}`);
      said = [];
    }
  }
}
tellFailed();

for (const [key, tests] of spared) {
  const [program, install] = key.split("\0");
  console.log(`${program} is not here: ${tests} ${tests === 1 ? "test" : "tests"} can't run (${install})`);
}
if (silent > 0) console.log(`${silent} of the failed were skipped without a reason`);
const late = [...text.matchAll(/^\s*\^ this test timed out after (\d+)ms/gm)].length;
if (late > 0)
  console.log(
    `${late} of the failed ran out of time (${Math.round(bound / 1000)} s), ${Math.max(0, count("fail") - late)} gave a wrong answer. Is the machine busy? Run a file by itself: bun test FILE`,
  );
console.log(`${passed} passed, ${failed} failed${isSpared ? `, ${unable} skipped` : ""}`);
process.exit(failed === 0 ? 0 : 1);

import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { start } from "../support/process.ts";

const script = async (name: string, ...args: string[]) => {
  const child = Bun.spawn([process.execPath, resolve(import.meta.dir, `../../scripts/${name}.ts`), ...args], {
    env: { PATH: "/nonexistent" },
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, status] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text(), child.exited]);
  return { status, stdout, stderr };
};

test.each(["load-activities", "load-pools"])(
  "%s --help tells its options and starts nothing; an option that it has not is told",
  async (name) => {
    const help = await script(name, "--users", "1", "--help");
    expect([help.status, help.stderr]).toEqual([0, ""]);
    expect(help.stdout).toContain("--duration SECONDS");
    for (const args of [["--durration", "1"], ["--duration"], ["--duration", "soon"], ["1"]]) {
      const wrong = await script(name, ...args);
      expect([wrong.status, wrong.stdout, wrong.stderr]).toEqual([2, "", expect.stringContaining("load:")]);
    }
  },
);

test("a load of activities goes on where a limit is met, says what to do, checks the tables and draws charts", async () => {
  await using gateway = await start({
    config: {
      tiers: { anonymous: { limits: [{ algorithm: "fixed-window", limit: 4, window: "1s" }] } },
      activities: { auth: "none" },
    },
  });
  const report = join(gateway.folder, "report.html");
  const load = await script(
    "load-activities",
    ...[
      "--url",
      gateway.url,
      "--database",
      join(gateway.folder, "data/activities.db"),
      "--users",
      "16",
      "--duration",
      "4",
      "--report",
      report,
    ],
  );
  expect([load.status, load.stderr]).toEqual([0, ""]);
  expect(load.stdout).toMatch(/^\d+ requests, 0 failures, [1-9]\d* activities accepted/);
  expect(load.stdout).toMatch(/× 429: the gateway limits this caller.*--key/);
  expect(load.stdout).toContain("each once and as it was sent");
  const page = readFileSync(report, "utf8");
  expect(page.match(/<polyline/g)).toHaveLength(6);
  expect(page).toContain("× 429");
}, 60_000);

import { expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { ADMIN_TOKEN, folder, freePort, start } from "../../support/process.ts";

const script = async (
  name: string,
  args: readonly string[],
  { cwd = ".", env = {} }: { cwd?: string; env?: Record<string, string> } = {},
) => {
  const child = Bun.spawn([process.execPath, resolve(import.meta.dir, `../../../scripts/${name}.ts`), ...args], {
    cwd,
    env: { PATH: "/nonexistent", ...env },
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, status] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text(), child.exited]);
  return { status, stdout, stderr };
};

test.each(["load-activities", "load-pools"])(
  "%s --help tells its options and starts nothing; an option that it has not is told",
  async (name) => {
    const help = await script(name, ["--users", "1", "--help"]);
    expect([help.status, help.stderr]).toEqual([0, ""]);
    expect(help.stdout).toContain("--duration SECONDS");
    for (const args of [["--durration", "1"], ["--duration"], ["--duration", "soon"], ["1"]]) {
      const wrong = await script(name, args);
      expect([wrong.status, wrong.stdout, wrong.stderr]).toEqual([2, "", expect.stringContaining("load:")]);
    }
  },
);

test("a load of activities goes on where a limit is met, says what to do, checks the tables and draws charts", async () => {
  await using gateway = await start({
    config: {
      tiers: { anonymous: { limits: [{ algorithm: "fixed-window", limit: 4, window: "1s" }] } },
      activities: { auth: "optional" },
    },
  });
  const report = join(gateway.folder, "report.html");
  const database = join(gateway.folder, "data/activities.db");
  const load = await script(
    "load-activities",
    ["--url", gateway.url, "--database", database, "--users", "16", "--duration", "4", "--report", report],
    { cwd: gateway.folder },
  );
  expect([load.status, load.stderr]).toEqual([0, ""]);
  expect(load.stdout).toMatch(/^\d+ requests, 0 failures, [1-9]\d* activities accepted/m);
  expect(load.stdout).toMatch(/× 429: the gateway limits this caller.*--key/);
  expect(load.stdout).toContain("each once and as it was sent");
  const page = readFileSync(report, "utf8");
  // Requests: all, failures, refused by a limit. Response times: three. Users.
  expect(page.match(/<path class="line-/g)).toHaveLength(7);
  expect(page).toContain("× 429");
  // With the token of an admin nothing is limited, and nothing stays of what that took.
  const unlimited = await script(
    "load-activities",
    ["--url", gateway.url, "--database", database, "--users", "16", "--duration", "4", "--report", "none"],
    { cwd: gateway.folder, env: { SLUICE_ADMIN_TOKEN: ADMIN_TOKEN } },
  );
  expect([unlimited.status, unlimited.stderr]).toEqual([0, ""]);
  expect(unlimited.stdout).not.toContain("429");
  for (const kind of ["consumers", "tiers"]) expect(await (await gateway.admin("GET", `/admin/${kind}`)).text()).not.toMatch(/"load-/);
}, 60_000);

test("more users than the demo's limits let through load its activities with the obvious command, and find a report where they are", async () => {
  await using demo = await start();
  const load = await script("load-activities", ["--url", demo.url, "--users", "250", "--duration", "3"], { cwd: demo.folder });
  expect([load.status, load.stderr]).toEqual([0, ""]);
  const requests = Number(/^(\d+) requests, 0 failures/m.exec(load.stdout)?.[1]);
  expect(requests).toBeGreaterThan(100);
  expect(load.stdout).not.toContain("429");
  const page = readFileSync(join(demo.folder, "load-activities.html"), "utf8");
  const rows = [...page.matchAll(/<tr><th scope="row">([^<]+)<\/th>((?:<td>[^<]*<\/td>)+)<\/tr>/g)].map(([, name = "", cells = ""]) => [
    name,
    [...cells.matchAll(/<td>([^<]*)/g)].map(([, text]) => text),
  ]) as [string, string[]][];
  const table = new Map(rows.filter(([, cells]) => cells.length === 11));
  expect([...table.keys()]).toEqual(expect.arrayContaining(["insert", "all"]));
  expect(table.get("all")?.slice(0, 3)).toEqual([String(requests), "0", "0"]);
  // Each chart says in a sentence what it shows, and nothing of the page is from elsewhere.
  expect(page.match(/role="img" aria-label="[^"]+ over \d+ seconds: [^"]+ on average, [^"]+ at most/g)).toHaveLength(3);
  expect(page).not.toMatch(/<script|src=|href=|url\(|@import/);
}, 60_000);

test("a load of activities knows what became of each request, though the gateway is killed twice meanwhile", async () => {
  using home = folder();
  const port = freePort();
  const begin = () => start({ config: { tiers: { anonymous: { limits: [] } }, activities: { auth: "none" } }, cwd: home.path, port });
  let gateway = await begin();
  try {
    const load = script(
      "load-activities",
      [
        "--url",
        gateway.url,
        "--database",
        join(home.path, "data/activities.db"),
        "--batch",
        "20",
        "--duration",
        "6",
        "--report",
        "report.html",
      ],
      { cwd: home.path, env: { SLUICE_ADMIN_TOKEN: ADMIN_TOKEN } },
    );
    for (let i = 0; i < 2; i++) {
      await Bun.sleep(2000);
      await gateway.stop("SIGKILL");
      gateway = await begin();
    }
    const { status, stdout, stderr } = await load;
    expect([status, stderr, stdout]).toEqual([0, "", expect.stringMatching(/[1-9]\d* rows are there, each once and as it was sent/)]);
    expect(stdout).toMatch(/^\d+ requests, [1-9]\d* failures/m);
    expect(readFileSync(join(home.path, "report.html"), "utf8")).toMatch(/<h2>Failures<\/h2><table>.*batch of 20/);
  } finally {
    await gateway.stop("SIGKILL");
  }
}, 120_000);

test("a load of activities that reaches nobody says what to start", async () => {
  const { status, stdout, stderr } = await script("load-activities", ["--url", "http://127.0.0.1:1"]);
  expect([status, stdout, stderr]).toEqual([1, "", expect.stringMatching(/nothing answers at http:\/\/127\.0\.0\.1:1.*bun start/)]);
});

test.each(["SIGTERM", "SIGINT"] as const)(
  "a load of activities that is ended at once by %s leaves no gateway behind",
  async (signal) => {
    using home = folder();
    const load = Bun.spawn([process.execPath, resolve(import.meta.dir, "../../../scripts/load-activities.ts"), "--report", "none"], {
      env: { PATH: "/nonexistent", TMPDIR: home.path },
      stdout: "pipe",
      stderr: "ignore",
    });
    // It says whom it loads once the gateway is there; then it looks for signals.
    for await (const chunk of load.stdout) if (new TextDecoder().decode(chunk).includes("50 users")) break;
    const [gateway] = readFileSync(`/proc/${load.pid}/task/${load.pid}/children`, "utf8").trim().split(" ");
    expect(readdirSync(home.path)).toHaveLength(1);
    // What a person does who is in a hurry.
    for (; load.exitCode === null; await Bun.sleep(50)) load.kill(signal);
    expect(load.exitCode).toBe(signal === "SIGTERM" ? 143 : 130);
    while (existsSync(`/proc/${gateway}`)) await Bun.sleep(20);
    expect(readdirSync(home.path)).toEqual([]);
  },
  30_000,
);

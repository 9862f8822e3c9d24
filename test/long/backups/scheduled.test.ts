import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type BackupPolicy, ScheduledBackups } from "../../../src/backups/scheduled.ts";
import { openStorage } from "../../../src/storage/open.ts";
import { folder, start } from "../../support/process.ts";

const HOUR = 3_600_000;

// The copy is made by the program itself: these run with the source, whatever is under test elsewhere.
function set(data: string, policy: BackupPolicy | null) {
  let now = Date.parse("2026-11-21T10:00:00Z");
  const told: (string | null)[] = [];
  const done: string[] = [];
  const backups = new ScheduledBackups({
    databasePath: join(data, "sluice.db"),
    clock: { now: () => now, wall: () => now },
    policy: () => policy,
    emit: (occurrence) => {
      if (occurrence.type === "backup") done.push(occurrence.file);
      if (occurrence.type === "backupTrouble") told.push(occurrence.why);
    },
    program: [process.execPath, join(import.meta.dir, "../../../src/main.ts")],
  });
  return {
    backups,
    told,
    done,
    pass: (time: number) => {
      now += time;
    },
    files: () => readdirSync(join(data, "backups")).filter((name) => name !== ".lock"),
  };
}

test("backups are made when it is time, whole and for the owner only, and the newest are kept", async () => {
  using data = folder();
  openStorage(join(data.path, "sluice.db")).close();
  const { backups, done, pass, files } = set(data.path, { every: HOUR, keep: 2, path: "backups" });
  expect(backups.age).toBeNull();
  await backups.look();
  await backups.look();
  expect([files(), done.length, backups.age]).toEqual([["sluice-2026-11-21T10-00-00Z.db"], 1, 0]);
  const file = join(data.path, "backups/sluice-2026-11-21T10-00-00Z.db");
  expect([statSync(file).mode & 0o777, statSync(join(data.path, "backups")).mode & 0o777]).toEqual([0o600, 0o700]);
  {
    using copy = new Database(file, { readonly: true });
    expect(copy.query("PRAGMA integrity_check").get()).toEqual({ integrity_check: "ok" });
  }
  writeFileSync(join(data.path, "backups/mine.db"), "not made by Sluice");
  writeFileSync(join(data.path, "backups/sluice-2026-11-21T09-00-00Z.db.part"), "left by a crash");
  for (let i = 0; i < 2; i++) {
    pass(HOUR);
    await backups.look();
  }
  expect(files().sort()).toEqual(["mine.db", "sluice-2026-11-21T11-00-00Z.db", "sluice-2026-11-21T12-00-00Z.db"]);
  pass(60_000);
  expect([backups.age, backups.counts, backups.hasFailed]).toEqual([60_000, { ok: 3, failed: 0 }, false]);
});

test("a backup that is dated in the future is left alone: it neither stands for a new one nor pushes an older one out", async () => {
  using data = folder();
  openStorage(join(data.path, "sluice.db")).close();
  mkdirSync(join(data.path, "backups"));
  const future = "sluice-2027-06-01T00-00-00Z.db";
  for (const name of ["sluice-2026-11-21T08-00-00Z.db", "sluice-2026-11-21T09-00-00Z.db", future])
    writeFileSync(join(data.path, "backups", name), "a backup of then");
  const { backups, done, pass, files } = set(data.path, { every: HOUR, keep: 2, path: "backups" });
  expect(backups.age).toBe(HOUR);
  for (let i = 0; i < 3; i++) {
    await backups.look();
    pass(5000);
  }
  expect(done.length).toBe(1);
  expect(files().sort()).toEqual(["sluice-2026-11-21T09-00-00Z.db", "sluice-2026-11-21T10-00-00Z.db", future]);
  expect(backups.age).toBe(15_000);
  // A clock that was set back by a moment makes no second one of the same time.
  pass(-45_000);
  await backups.look();
  expect([done.length, backups.age]).toEqual([1, 0]);
});

test("a backup that fails leaves nothing that looks like one, is told, and is tried again", async () => {
  using data = folder();
  openStorage(join(data.path, "sluice.db")).close();
  mkdirSync(join(data.path, "backups"));
  const { backups, told, pass, files } = set(data.path, { every: HOUR, keep: 2, path: "backups" });
  rmSync(join(data.path, "sluice.db"));
  await backups.look();
  expect([files(), told.length, backups.hasFailed, backups.counts]).toEqual([[], 1, true, { ok: 0, failed: 1 }]);
  expect(told[0]).toContain("backups: ");
  openStorage(join(data.path, "sluice.db")).close();
  await backups.look();
  expect(files()).toEqual([]);
  pass(300_000);
  await backups.look();
  expect([files().length, told, backups.hasFailed]).toEqual([1, [told[0] ?? "", null], false]);
});

test("a gateway makes its first scheduled backup soon after the start, and warns when it can't", async () => {
  using home = folder();
  const config = (path: string) => ({ tiers: { anonymous: { limits: [] } }, backup: { every: "1m", keep: 1, path } });
  await using gateway = await start({ cwd: home.path, config: config("../kept") });
  const text = async () => await (await fetch(`${gateway.url}/metrics`)).text();
  while (!(await text()).includes('sluice_backups_total{result="ok"} 1')) await Bun.sleep(100);
  expect(readdirSync(join(home.path, "kept")).filter((name) => name.endsWith(".db")).length).toBe(1);
  expect(await text()).toMatch(/^sluice_backup_age_seconds \d/m);
  expect(await text()).toContain("sluice_backup_failed 0\n");
  expect(await (await gateway.admin("GET", "/admin/audit?action=backup.create")).json()).toMatchObject({ items: [{ actor: "system" }] });
  writeFileSync(join(home.path, "config.json"), JSON.stringify(config("sluice.db/below-a-file")));
  expect((await gateway.admin("POST", "/admin/config/reload")).status).toBe(200);
  const warnings = async () => ((await (await fetch(`${gateway.url}/ready`)).json()) as { warnings: { code: string }[] }).warnings;
  while ((await warnings()).length === 0) await Bun.sleep(100);
  expect(await warnings()).toMatchObject([{ code: "backupFailed" }]);
  writeFileSync(join(home.path, "config.json"), JSON.stringify({ ...config("x"), backup: null }));
  expect((await gateway.admin("POST", "/admin/config/reload")).status).toBe(200);
  while ((await warnings()).length > 0) await Bun.sleep(100);
  writeFileSync(join(home.path, "config.json"), JSON.stringify({ backup: { every: "5s" } }));
  expect(await (await gateway.admin("POST", "/admin/config/reload")).json()).toMatchObject({ errors: [{ path: "backup.every" }] });
});

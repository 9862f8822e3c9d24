import { closeSync, openSync, rmSync, statfsSync, writeSync } from "node:fs";
import { join } from "node:path";
import { folder } from "./process.ts";

/** A disk of the test's own. */
export interface Disk {
  readonly path: string;
  /** Leaves no room on it. */
  fill(): void;
  /** Makes room again. */
  free(): void;
  [Symbol.dispose](): void;
}

/** Whether a disk may be mounted here. */
export function mayMount(): boolean {
  using place = folder();
  const may = Bun.spawnSync(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place.path], { stderr: "ignore" }).success;
  if (may) Bun.spawnSync(["umount", place.path]);
  return may;
}

/** A file system in memory of so many megabytes. */
export function disk(megabytes: number): Disk {
  const place = folder();
  const mounted = Bun.spawnSync(["mount", "-t", "tmpfs", "-o", `size=${megabytes}m`, "tmpfs", place.path]);
  if (!mounted.success) throw new Error(`no disk could be mounted: ${mounted.stderr}`);
  const filler = join(place.path, "filler");
  return {
    path: place.path,
    fill: () => {
      const file = openSync(filler, "a");
      const block = Buffer.alloc(4096);
      try {
        while (statfsSync(place.path).bavail > 0) writeSync(file, block);
      } catch {
        // Full.
      }
      closeSync(file);
    },
    free: () => rmSync(filler, { force: true }),
    [Symbol.dispose]: () => {
      Bun.spawnSync(["umount", "-l", place.path]);
      place[Symbol.dispose]();
    },
  };
}

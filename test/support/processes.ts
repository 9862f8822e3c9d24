import { readdirSync, readFileSync } from "node:fs";
import { type Running, type StartOptions, start } from "./process.ts";
import { until } from "./until.ts";

/** Describes one process of a gateway that has several. */
export interface Part {
  readonly pid: number;
  /** "keeper", or a worker's number. */
  readonly name: string;
}

/** Lists the processes that a gateway's supervisor has started and that are alive, by name (Linux). */
export function partsOf(supervisor: number): Part[] {
  const parts: Part[] = [];
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? [];
      if (Number(stat[1]) !== supervisor || stat[0] === "Z") continue;
      const words = readFileSync(`/proc/${entry}/cmdline`, "utf8").split("\0");
      const at = words.indexOf("worker");
      if (at >= 0) parts.push({ pid: Number(entry), name: words[at + 1] ?? "" });
    } catch {
      // It has ended meanwhile.
    }
  }
  return parts.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Gives the process id of a part, when it is there. */
export const partOf = (supervisor: number, name: string): number | undefined => partsOf(supervisor).find((part) => part.name === name)?.pid;

/** Tells whether a process is there, and not only waiting for its parent. */
export function isAlive(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.[0] !== "Z";
  } catch {
    return false;
  }
}

/** Starts a gateway of several processes, and waits until all of them serve. */
export async function startAll(options: StartOptions): Promise<Running> {
  const gateway = await start(options);
  await until(() => gateway.output().includes('"msg":"listening"'));
  return gateway;
}

/** Kills one of a gateway's processes, and waits until another serves in its place. */
export async function killAndWait(gateway: Running, name: string): Promise<void> {
  const before = partOf(gateway.pid, name);
  process.kill(before ?? 0, "SIGKILL");
  await until(() => {
    const pid = partOf(gateway.pid, name);
    return pid !== undefined && pid !== before && gateway.output().includes(`"pid":${pid},"msg":"another process`);
  });
}

import { readdirSync, readFileSync } from "node:fs";
import { cpus } from "node:os";

/** Gives what stands behind `--name` on the command line. */
export const option = (name: string): string | undefined => {
  const at = Bun.argv.indexOf(`--${name}`);
  return at < 0 ? undefined : Bun.argv[at + 1];
};

const isSplit = cpus().length > 1 && Bun.which("taskset") !== null;

/** Gives a command that runs on these cores alone, where there are several. */
export const on = (cores: string, command: string[]): string[] => (isSplit ? ["taskset", "-c", cores, ...command] : command);

/** Programs that are measured, or load those: they end together. */
export class Programs {
  private readonly children: Bun.Subprocess[] = [];

  constructor(private readonly folder: string) {}

  spawn(cores: string, command: string[], env: Record<string, string> = {}): Bun.Subprocess {
    const child = Bun.spawn(on(cores, command), {
      cwd: this.folder,
      env: { ...process.env, ...env },
      stdout: "ignore",
      stderr: "ignore",
    });
    this.children.push(child);
    return child;
  }

  async end(): Promise<void> {
    // A program of several processes ends its others when it is asked to end.
    for (const child of this.children) child.kill("SIGTERM");
    await Promise.race([Promise.all(this.children.map(({ exited }) => exited)), Bun.sleep(2000)]);
    for (const child of this.children) child.kill("SIGKILL");
  }
}

/** Waits until an address answers well, for a minute at most. */
export async function answering(url: string, headers: Record<string, string> = {}): Promise<void> {
  const until = performance.now() + 60_000;
  while (performance.now() < until) {
    if (
      await fetch(url, { headers }).then(
        (answer) => answer.ok,
        () => false,
      )
    )
      return;
    await Bun.sleep(10);
  }
  throw new Error(`${url} does not answer`);
}

/** CPU time that a process and its descendants have used, those that have ended included, in microseconds (Linux). */
export function cpuTime(pid: number): number {
  const children = new Map<number, number[]>();
  const ticks = new Map<number, number>();
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const fields = readFileSync(`/proc/${name}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? [];
      const [parent, spent] = [Number(fields[1]), fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0)];
      ticks.set(Number(name), spent);
      children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
    } catch {
      // It has ended meanwhile: its parent has its time.
    }
  }
  const sum = (of: number): number => (children.get(of) ?? []).reduce((all, child) => all + sum(child), ticks.get(of) ?? 0);
  return sum(pid) * 10_000;
}

export const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

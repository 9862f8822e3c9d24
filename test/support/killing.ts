import { writeFileSync } from "node:fs";
import { join } from "node:path";

/** Holds what processes have begun and done by their own notes, which outlive them. */
export interface Journals {
  /** Gives how often the thing of this number was begun and done by all of them. */
  of(n: number): { readonly begun: number; readonly done: number };
  readonly count: number;
}

/** Says what is started again and again. */
export interface Killed {
  readonly program: string;
  /** The arguments of each process; `journal`: the path of a journal of its own, where it keeps one. */
  readonly processes: readonly ((journal: () => string) => readonly string[])[];
  /** The number of things that a journal has two numbers for. */
  readonly things: number;
  /** The folder for the journals. */
  readonly folder: string;
  readonly kills: number;
}

/** Starts processes, kills one of them at random again and again and starts it anew, and kills all at the end. */
export async function killAtRandom({ program, processes, things, folder, kills }: Killed): Promise<Journals> {
  const journals: string[] = [];
  const started = async (args: Killed["processes"][number]) => {
    const journal = (): string => {
      const path = join(folder, `journal-${journals.length}`);
      writeFileSync(path, new Uint8Array(16 * things));
      journals.push(path);
      return path;
    };
    const child = Bun.spawn(["bun", program, ...args(journal)], { stdout: "pipe", stderr: "inherit" });
    // Until it has said that it is at work.
    await child.stdout.getReader().read();
    return child;
  };
  const children = await Promise.all(processes.map(started));
  for (let n = 0; n < kills; n++) {
    await Bun.sleep(Math.random() * 60);
    const which = n % processes.length;
    children[which]?.kill("SIGKILL");
    await children[which]?.exited;
    children[which] = await started(processes[which] as Killed["processes"][number]);
  }
  await Bun.sleep(100);
  for (const child of children) child.kill("SIGKILL");
  await Promise.all(children.map(({ exited }) => exited));
  const sums = journals.map((path) => new Float64Array(Bun.mmap(path).buffer));
  const sum = (at: number): number => sums.reduce((all, journal) => all + (journal[at] ?? 0), 0);
  return { of: (n) => ({ begun: sum(2 * n), done: sum(2 * n + 1) }), count: journals.length };
}

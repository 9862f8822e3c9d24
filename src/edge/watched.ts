import { readFileSync } from "node:fs";
import { readFile, stat } from "node:fs/promises";

/** Says what was made of the texts of files, or why nothing can be made of them, and which of them is to blame. */
export type Made<T> = { readonly value: T } | { readonly trouble: string; readonly file: number };

/** Milliseconds within which a file may be written again without looking another one: the clocks of file systems are coarse. */
const UNSETTLED_FOR = 1500;

/**
 * Keeps what some files that belong together held when nothing was wrong with them, whatever becomes of them. It asks for their state instead of being told:
 * that works on every file system, and where a link leads elsewhere from one moment to the next, as Kubernetes and certbot do it.
 */
export class Watched<T> {
  /** What they held when they were well last; `null`: they never were. */
  good: T | null;
  /** What is wrong with them now; `null`: nothing. */
  trouble: string | null = null;
  /** The place among them of the one to blame. */
  troubledFile = 0;
  /** Since when, in milliseconds since 1970. */
  troubledSince: number | null = null;
  private seen = "";
  /** The state in which they were found faulty once: whoever writes two files is between them for a moment. */
  private doubted = "";
  private looking: Promise<boolean> | null = null;

  constructor(
    readonly files: readonly string[],
    private readonly make: (texts: readonly (string | Error)[]) => Made<T>,
    private readonly wall: () => number,
    last: T | null = null,
  ) {
    this.good = last;
  }

  /** Reads the files while nothing else is done. */
  readNow(): void {
    this.take(
      this.files.map((file) => {
        try {
          return readFileSync(file, "utf8");
        } catch (error) {
          return error as Error;
        }
      }),
    );
  }

  /** Looks whether the files are others than before, and reads them then, or in any case (`isCertain`). True when something has changed. */
  async look(isCertain = false): Promise<boolean> {
    // What was written after a look had begun is in the next one.
    while (this.looking !== null) {
      if (!isCertain) return false;
      await this.looking;
    }
    this.looking = this.lookOnce(isCertain);
    try {
      return await this.looking;
    } finally {
      this.looking = null;
    }
  }

  private async lookOnce(isCertain: boolean): Promise<boolean> {
    // First: what is written while they are read shows in the next look.
    const state = await this.state();
    if (!isCertain && state === this.seen) return false;
    const texts = await Promise.all(this.files.map((file) => readFile(file, "utf8").catch((error: Error) => error)));
    return this.take(texts, state, isCertain);
  }

  /** Gives a text that changes when the files do; an empty one while they may be written again unnoticed. */
  private async state(): Promise<string> {
    const now = this.wall();
    let isSettled = true;
    const states = await Promise.all(
      this.files.map(async (file) => {
        try {
          const { mtimeMs, ctimeMs, size, ino } = await stat(file);
          if (Math.abs(now - ctimeMs) < UNSETTLED_FOR) isSettled = false;
          return `${mtimeMs} ${ctimeMs} ${size} ${ino}`;
        } catch (error) {
          return String((error as { code?: unknown }).code);
        }
      }),
    );
    return `${isSettled ? "" : "unsettled "}${states.join(", ")}`;
  }

  private take(texts: readonly (string | Error)[], state = "", isCertain = true): boolean {
    const made = this.make(texts);
    if ("value" in made) {
      const isChange = this.trouble !== null || !Bun.deepEquals(this.good, made.value);
      this.good = made.value;
      this.trouble = null;
      this.troubledSince = null;
      this.doubted = "";
      this.seen = state.startsWith("unsettled") ? "" : state;
      return isChange;
    }
    if (!isCertain && state !== this.doubted) {
      this.doubted = state;
      return false;
    }
    this.seen = state.startsWith("unsettled") ? "" : state;
    if (this.trouble === made.trouble) return false;
    this.troubledSince ??= this.wall();
    this.trouble = made.trouble;
    this.troubledFile = made.file;
    return true;
  }
}

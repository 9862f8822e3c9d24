/** Holds one row on its way. */
export interface Entry {
  readonly id: string;
  /** Its place in the queue: another one when it is replayed. */
  readonly position: number;
  /** The row as JSON, on one line. */
  readonly json: string;
  /** Its bytes. */
  readonly size: number;
  /** Notes what is wrong with it; without a call it is stored. */
  readonly fail: (why: string) => void;
}

/** Cuts rows into parts of up to `max` rows and `bytes` bytes. A row that is larger by itself makes a part of its own. */
export function parts(entries: readonly Entry[], max: number, bytes: number): Entry[][] {
  const all: Entry[][] = [];
  let part: Entry[] = [];
  let size = 0;
  for (const entry of entries) {
    if (part.length > 0 && (part.length >= max || size + entry.size > bytes)) {
      all.push(part);
      part = [];
      size = 0;
    }
    part.push(entry);
    size += entry.size;
  }
  if (part.length > 0) all.push(part);
  return all;
}

/** Does all tasks, `width` of them at a time. When one throws no more are begun, and it is thrown once those under way have ended. */
export async function inParallel(tasks: readonly (() => Promise<void>)[], width: number): Promise<void> {
  let next = 0;
  let fault: { readonly error: unknown } | null = null;
  const work = async (): Promise<void> => {
    while (next < tasks.length && fault === null) {
      try {
        await tasks[next++]?.();
      } catch (error) {
        fault ??= { error };
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(width, tasks.length) }, work));
  // The type of what closures write to is not followed.
  const thrown = fault as { readonly error: unknown } | null;
  if (thrown !== null) throw thrown.error;
}

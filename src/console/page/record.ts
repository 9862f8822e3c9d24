import { useState } from "preact/hooks";
import { Problem, problemOf, read, send, type Versioned } from "./api.ts";
import { useLive } from "./live.ts";

/** Says that a record was changed by somebody else since it was read here. */
export interface Conflict<T> {
  /** As it was when it was read here, and as it is now. */
  readonly before: T;
  readonly theirs: Versioned<T>;
  /** What was to be changed. */
  readonly patch: Partial<T>;
}

/** Holds a record that can be changed. */
export interface Editable<T> {
  readonly value: T | null;
  readonly error: Problem | null;
  readonly reload: () => void;
  /** Changes it, if nobody has since it was read. Rejects with a `Problem`, but for 412: that becomes `conflict`, and this gives false. */
  readonly save: (patch: Partial<T>) => Promise<boolean>;
  readonly conflict: Conflict<T> | null;
  /** Changes it in spite of what somebody else did. Rejects with a `Problem`. */
  readonly overwrite: () => Promise<void>;
  /** Takes what somebody else made of it. */
  readonly takeTheirs: () => void;
}

/**
 * Reads a record of the admin API, and changes it by PATCH with If-Match, so that nobody undoes what somebody else has just done.
 *
 * @example
 * const tier = useRecord<Tier>(`tiers/${part(name)}`);
 * await tier.save({ limits });
 */
export function useRecord<T extends object>(path: string): Editable<T> {
  const { value, error, refresh } = useLive(path, () => read<T>(path), 0);
  const [conflict, setConflict] = useState<Conflict<T> | null>(null);
  const put = async (patch: Partial<T>, etag: string | null): Promise<void> => {
    await send("PATCH", path, { body: patch, etag });
    setConflict(null);
    refresh();
  };
  return {
    value: value?.value ?? null,
    ...{ error, conflict, reload: refresh },
    save: async (patch) => {
      if (value === null) return false;
      try {
        await put(patch, value.etag);
        return true;
      } catch (thrown) {
        if (!(thrown instanceof Problem) || thrown.status !== 412) throw problemOf(thrown);
        setConflict({ before: value.value, theirs: await read<T>(path), patch });
        return false;
      }
    },
    overwrite: async () => {
      if (conflict !== null) await put(conflict.patch, conflict.theirs.etag);
    },
    takeTheirs: () => {
      setConflict(null);
      refresh();
    },
  };
}

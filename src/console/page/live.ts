import { useEffect, useRef, useState } from "preact/hooks";
import { type Problem, problemOf } from "./api.ts";

/** Milliseconds between two tries while the gateway does not answer, at most. */
const SLOWEST = 30_000;

/** Holds what was asked for last, and what went wrong since. */
export interface Live<T> {
  /** `null` until the first answer. */
  readonly value: T | null;
  /** `null` while all is well; the last value stays. */
  readonly error: Problem | null;
  /** Asks now. */
  readonly refresh: () => void;
}

/**
 * Asks again and again, `every` milliseconds after the answer before (0: once, and when `refresh` is called). It rests while nobody sees
 * the page, and asks less often while there are errors. `key` says what is asked for: with another one all begins anew.
 *
 * @example
 * const stats = useLive("stats", (signal) => get<Stats>("stats", {}, signal), 1000);
 */
export function useLive<T>(key: string, ask: (signal: AbortSignal) => Promise<T>, every: number): Live<T> {
  const [state, setState] = useState<{ readonly key: string; readonly value: T | null; readonly error: Problem | null }>({
    key,
    value: null,
    error: null,
  });
  const asking = useRef(ask);
  asking.current = ask;
  const again = useRef<() => void>(() => {});
  useEffect(() => {
    const leaving = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let wait = every;
    let isAsking = false;
    const run = async (): Promise<void> => {
      clearTimeout(timer);
      if (isAsking) return;
      isAsking = true;
      try {
        const value = await asking.current(leaving.signal);
        if (leaving.signal.aborted) return;
        wait = every;
        setState({ key, value, error: null });
      } catch (error) {
        if (leaving.signal.aborted) return;
        wait = Math.min(SLOWEST, Math.max(1000, wait * 2));
        const problem = problemOf(error);
        setState((before) => ({ key, value: before.key === key ? before.value : null, error: problem }));
        // What was refused for good stays so until somebody asks again.
        if (every === 0 && problem.status !== 0) wait = 0;
      } finally {
        isAsking = false;
        if (!leaving.signal.aborted && wait > 0 && !document.hidden) timer = setTimeout(run, wait);
      }
    };
    const onVisible = (): void => {
      if (!document.hidden && every > 0) void run();
    };
    document.addEventListener("visibilitychange", onVisible);
    again.current = () => void run();
    void run();
    return () => {
      leaving.abort();
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", onVisible);
    };
  }, [key, every]);
  const isCurrent = state.key === key;
  return { value: isCurrent ? state.value : null, error: isCurrent ? state.error : null, refresh: () => again.current() };
}

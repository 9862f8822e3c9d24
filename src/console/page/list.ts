import { useEffect, useRef, useState } from "preact/hooks";
import { get, type Page, type Problem, problemOf, type Query } from "./api.ts";

/** Holds what was loaded of a list of the admin API. */
export interface List<T> {
  readonly items: readonly T[];
  readonly error: Problem | null;
  readonly isLoading: boolean;
  readonly hasMore: boolean;
  /** Loads the next page. */
  readonly more: () => void;
  /** Loads the first page again: after a change. */
  readonly reload: () => void;
  /** Has the gateway search; left out: it can't, and what was loaded is searched. */
  readonly search?: (text: string) => void;
}

/** Rows of a page. */
const ROWS = 100;
/** Milliseconds without another letter until the gateway is asked for what was typed. */
const TYPED = 250;

interface State<T> {
  readonly items: readonly T[];
  readonly cursor: string | null;
  readonly error: Problem | null;
  readonly isLoading: boolean;
}

const NOTHING = { items: [], cursor: null, error: null, isLoading: true };

/**
 * Reads a list of the admin API, page by page. `searchBy` names the parameter by which the gateway searches, where the list has one.
 *
 * @example
 * const keys = useList<Key>("keys", { consumer: "acme" });
 */
export function useList<T>(path: string, query: Query = {}, searchBy?: string): List<T> {
  const [state, setState] = useState<State<T>>(NOTHING);
  const [text, setText] = useState("");
  const [times, setTimes] = useState(0);
  const asked = searchBy === undefined || text === "" ? query : { ...query, [searchBy]: text };
  const key = `${path} ${JSON.stringify(asked)}`;
  const current = useRef(key);
  const load = (cursor: string | null): void => {
    setState((before) => ({ ...before, isLoading: true }));
    get<Page<T>>(path, { limit: ROWS, ...asked, cursor }).then(
      ({ items, nextCursor }) => {
        if (current.current !== key) return;
        setState((before) => ({
          items: cursor === null ? items : [...before.items, ...items],
          cursor: nextCursor,
          error: null,
          isLoading: false,
        }));
      },
      (error: unknown) => {
        if (current.current === key) setState((before) => ({ ...before, error: problemOf(error), isLoading: false }));
      },
    );
  };
  // The key stands for what is asked, and `times` for being asked again.
  useEffect(() => {
    current.current = key;
    const timer = setTimeout(() => load(null), text === "" ? 0 : TYPED);
    return () => clearTimeout(timer);
  }, [key, times]);
  return {
    items: state.items,
    error: state.error,
    isLoading: state.isLoading,
    hasMore: state.cursor !== null,
    more: () => load(state.cursor),
    reload: () => setTimes((before) => before + 1),
    ...(searchBy === undefined ? {} : { search: setText }),
  };
}

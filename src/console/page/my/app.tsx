import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { type Problem, problemOf } from "../api.ts";
import { ErrorNote } from "../parts/error-note.tsx";
import { say, Toasts } from "../parts/toast.tsx";
import { ask, type OwnKeys, type Standing } from "./api.ts";
import { Keys } from "./keys.tsx";
import { Limits } from "./limits.tsx";
import { Usage } from "./usage.tsx";

/** Milliseconds between two looks at what is left. */
const LOOK_EVERY = 15_000;

/** Holds what is shown: nothing so far, everything, or why there is nothing to be seen. */
type State =
  | { readonly is: "loading" }
  | { readonly is: "in"; readonly standing: Standing; readonly keys: OwnKeys }
  | { readonly is: "out"; readonly problem: Problem }
  | { readonly is: "failed"; readonly problem: Problem };

/** Takes the secret of the link out of the address, so that it is in no history; `null`: there is none. */
function takeLink(): string | null {
  const link = /^#link=(.+)$/.exec(location.hash)?.[1] ?? null;
  if (link !== null) history.replaceState(null, "", location.pathname);
  return link;
}

/** Asks for everything that the page shows. */
async function look(): Promise<State> {
  try {
    const [standing, keys] = await Promise.all([ask<Standing>("GET", "api/me"), ask<OwnKeys>("GET", "api/me/keys")]);
    return { is: "in", standing, keys };
  } catch (error) {
    const problem = problemOf(error);
    return { is: problem.status === 401 ? "out" : "failed", problem };
  }
}

/** Shows a consumer their keys, limits and usage. */
export function App() {
  const [state, setState] = useState<State>({ is: "loading" });
  const shown = useRef(state.is);
  shown.current = state.is;
  const refresh = useCallback(async (): Promise<void> => {
    const next = await look();
    // What was seen before stays while the gateway can't be reached.
    setState((before) => (next.is === "failed" && before.is === "in" ? before : next));
  }, []);
  useEffect(() => {
    document.title = "Your keys";
    const link = takeLink();
    const begin = async (): Promise<void> => {
      if (link !== null) {
        try {
          await ask("POST", "session", { link });
        } catch (error) {
          const next = await look();
          // Whoever opens a link twice, and is let in already, stays so.
          setState(next.is === "in" ? next : { is: "out", problem: problemOf(error) });
          return;
        }
      }
      await refresh();
    };
    void begin();
    const timer = setInterval(() => {
      if (!document.hidden && (shown.current === "in" || shown.current === "failed")) void refresh();
    }, LOOK_EVERY);
    return () => clearInterval(timer);
  }, [refresh]);
  const leave = async (): Promise<void> => {
    await ask("DELETE", "session").catch((error: unknown) => say(problemOf(error).message, "bad"));
    await refresh();
  };
  return (
    <>
      <main class="my">
        <Content state={state} onChange={refresh} onLeave={() => void leave()} />
      </main>
      <Toasts />
    </>
  );
}

interface ContentProps {
  readonly state: State;
  readonly onChange: () => Promise<void>;
  readonly onLeave: () => void;
}

function Content({ state, onChange, onLeave }: ContentProps) {
  switch (state.is) {
    case "loading":
      return <p class="fine">Loading…</p>;
    case "failed":
      return (
        <>
          <h1>Your keys</h1>
          <ErrorNote problem={state.problem} onRetry={() => void onChange()} />
        </>
      );
    case "out":
      return <Out problem={state.problem} />;
    case "in":
      return <In {...state} onChange={onChange} onLeave={onLeave} />;
  }
}

/** Tells who is not let in whom to ask. */
const Out = ({ problem }: { readonly problem: Problem }) => (
  <>
    <h1>You need a new link</h1>
    <p role="status">
      {problem.code === "ipBlocked"
        ? problem.message
        : "The link to this page works once, and not for long. You are let in by it for 12 hours, in the browser in which you opened it."}
    </p>
    <p>
      Ask whoever gave you access to the API for another link. With an API key that still works you need none: <code>GET /api/v1/me</code>{" "}
      and <code>GET /api/v1/me/keys</code> tell the same.
    </p>
    {problem.requestId !== null && (
      <p class="fine">
        For questions: <code>{problem.code}</code>, request <code>{problem.requestId}</code>
      </p>
    )}
  </>
);

interface InProps extends Omit<ContentProps, "state"> {
  readonly standing: Standing;
  readonly keys: OwnKeys;
}

const In = ({ standing, keys, onChange, onLeave }: InProps) => (
  <>
    <header class="screen-head">
      <div>
        <h1>Your keys</h1>
        <p class="intro">
          You are <strong>{standing.consumer}</strong>, tier <strong>{standing.tier}</strong>.
        </p>
      </div>
      <button type="button" class="quiet" onClick={onLeave}>
        Sign out
      </button>
    </header>
    <Keys keys={keys} onChange={onChange} />
    <Limits standing={standing} keys={keys.items} />
    <Usage days={standing.usage} />
  </>
);

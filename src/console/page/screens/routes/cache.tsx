import { useState } from "preact/hooks";
import { get, send } from "../../api.ts";
import { bytes, count, counted, percent } from "../../format.ts";
import { useList } from "../../list.ts";
import { useLive } from "../../live.ts";
import { Dangerous } from "../../parts/act.tsx";
import { ErrorNote } from "../../parts/error-note.tsx";
import { KeyValue } from "../../parts/key-value.tsx";
import { Options } from "../../parts/options.tsx";
import { Panel } from "../../parts/screen.tsx";
import { say } from "../../parts/toast.tsx";
import type { Route } from "../../records/types.ts";

interface Statistics {
  readonly entries: number;
  readonly size: number;
  readonly maxSize: number;
  readonly evicted: number;
  readonly hits: number;
  readonly misses: number;
  readonly stale: number;
  readonly revalidated: number;
  readonly collapsed: number;
  readonly stored: number;
  readonly bypassed: number;
}

/** Milliseconds between two looks. */
const EVERY = 3000;

/** Shows what the cache holds and how much it helps, and has it forget. */
export function CachePanel() {
  const { value, error, refresh } = useLive("cache", (signal) => get<Statistics>("cache", {}, signal), EVERY);
  const routes = useList<Route>("routes").items.filter(({ cache }) => cache !== null);
  const [route, setRoute] = useState("");
  const [prefix, setPrefix] = useState("");
  if (value === null) return error === null ? <p class="fine">Loading…</p> : <ErrorNote problem={error} onRetry={refresh} />;
  const asked = value.hits + value.misses + value.stale;
  return (
    <>
      {error !== null && <ErrorNote problem={error} />}
      <Panel title="What it holds, since the start">
        <KeyValue
          of={[
            [
              "From the cache",
              asked === 0 ? "nothing was asked for yet" : `${percent((value.hits + value.stale) / asked)} of ${counted(asked, "request")}`,
            ],
            ["Fresh, stale", `${count(value.hits)}, ${count(value.stale)}`],
            ["Forwarded", count(value.misses)],
            ["Kept now", `${counted(value.entries, "response")}, ${bytes(value.size)} of ${bytes(value.maxSize)}`],
            ["Confirmed (304)", count(value.revalidated)],
            ["Shared an answer", count(value.collapsed)],
            ["Evicted", count(value.evicted)],
          ]}
        />
      </Panel>
      <Panel title="Purge">
        {routes.length === 0 ? (
          <p class="fine">No route keeps responses. Give a route a cache to have it answered without its backend.</p>
        ) : (
          <div class="cells">
            <label class="field">
              <span>Route</span>
              <select value={route} onChange={(event) => setRoute(event.currentTarget.value)}>
                <Options of={[["", "all routes"], ...routes.map(({ name }) => name)]} />
              </select>
            </label>
            <label class="field">
              <span>
                Path begins with <span class="fine">optional</span>
              </span>
              <input value={prefix} placeholder="/api/users" spellcheck={false} onInput={(event) => setPrefix(event.currentTarget.value)} />
            </label>
          </div>
        )}
        <div class="acts">
          <Dangerous
            label="Purge"
            about="the cache"
            needs="operator"
            title={route === "" ? "Purge the cache of all routes?" : `Purge the cache of ${route}?`}
            disabled={routes.length === 0}
            act={async () => {
              const { value: answer } = await send<{ readonly purged: number }>("DELETE", "cache", { query: { route, prefix } });
              say(`${counted(answer.purged, "response")} purged.`);
              refresh();
            }}
          >
            <p>
              The next request for each response goes to its backend
              {prefix === "" ? (
                ""
              ) : (
                <>
                  {" "}
                  (only paths that begin with <code>{prefix}</code>)
                </>
              )}
              . In all workers.
            </p>
          </Dangerous>
        </div>
      </Panel>
    </>
  );
}

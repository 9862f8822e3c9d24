import { get, part, send } from "../../api.ts";
import { count, span } from "../../format.ts";
import { useLive } from "../../live.ts";
import { Dangerous } from "../../parts/act.tsx";
import { Badge } from "../../parts/badge.tsx";
import { ErrorNote } from "../../parts/error-note.tsx";
import { Table } from "../../parts/table.tsx";
import type { Breaker } from "../../records/types.ts";
import { UpstreamName, useKnownUpstreams } from "./upstream-name.tsx";

/** Milliseconds between two looks. */
const EVERY = 2000;

/** Shows how targets are, live, and opens and closes their breakers. `of`: only those of this upstream. */
export function Health({ of }: { readonly of?: string }) {
  const { value, error, refresh } = useLive(
    "breakers",
    (signal) => get<{ readonly items: readonly Breaker[] }>("breakers", {}, signal),
    EVERY,
  );
  const known = useKnownUpstreams();
  const rows = value?.items.filter(({ upstream }) => of === undefined || upstream === of) ?? [];
  return (
    <>
      {error !== null && <ErrorNote problem={error} onRetry={refresh} />}
      {value !== null && (
        <Table<Breaker>
          caption="Targets, their health and breakers"
          keyOf={({ upstream, target }) => `${upstream} ${target}`}
          rows={rows}
          empty={<p>No route goes to a target yet, so that there is nothing to watch.</p>}
          columns={[
            {
              name: "Target",
              cell: ({ target, upstream }) => (
                <>
                  <code>{target}</code>
                  {of === undefined && upstream !== target && (
                    <div class="fine">
                      of <UpstreamName of={upstream} known={known} />
                    </div>
                  )}
                </>
              ),
              sort: ({ target }) => target,
            },
            {
              name: "Health",
              cell: ({ healthy }) => <Badge tone={healthy ? "good" : "bad"}>{healthy ? "up" : "down"}</Badge>,
              sort: ({ healthy }) => (healthy ? 1 : 0),
            },
            { name: "Breaker", cell: (breaker) => <Standing of={breaker} />, sort: ({ state }) => state },
            {
              name: "Failures in a row",
              isNumber: true,
              isWide: true,
              cell: ({ failures }) => count(failures),
              sort: ({ failures }) => failures,
            },
            { name: "Under way", isNumber: true, cell: ({ inFlight }) => count(inFlight), sort: ({ inFlight }) => inFlight, isWide: true },
            { name: "Act", cell: (breaker) => <ByHand of={breaker} onDone={refresh} /> },
          ]}
        />
      )}
    </>
  );
}

const TONES = { closed: "good", open: "bad", "half-open": "warn" } as const;

function Standing({ of: { state, held, since, retryAfter } }: { readonly of: Breaker }) {
  return (
    <>
      <Badge tone={TONES[state]}>{state}</Badge>
      <div class="fine">
        {held ? "opened by hand, " : ""}
        for {span((Date.now() - Date.parse(since)) / 1000)}
        {retryAfter !== null && `, a probe in ${span(retryAfter)}`}
      </div>
    </>
  );
}

function ByHand({ of: { target, state }, onDone }: { readonly of: Breaker; readonly onDone: () => void }) {
  const act = async (what: "open" | "close"): Promise<void> => {
    await send("POST", `breakers/${part(target)}/${what}`);
    onDone();
  };
  return state === "closed" ? (
    <Dangerous
      label="Open"
      about={`breaker of ${target}`}
      needs="operator"
      title={`Open the breaker of ${target}?`}
      done={`${target} gets no request until its breaker is closed by hand.`}
      act={() => act("open")}
    >
      <p>
        The target gets no request, in no upstream that has it, until somebody closes the breaker. Where no other target is left, callers
        get 503.
      </p>
    </Dangerous>
  ) : (
    <Dangerous
      label="Close"
      about={`breaker of ${target}`}
      needs="operator"
      title={`Close the breaker of ${target}?`}
      done={`${target} gets requests again.`}
      act={() => act("close")}
    >
      <p>The target gets its full share of requests at once. If it fails still, the breaker opens again.</p>
    </Dangerous>
  );
}

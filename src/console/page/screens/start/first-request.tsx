import { type GatewayEvent, useEvents } from "../../events.ts";
import { clock, millis } from "../../format.ts";
import { Code, SecretOnce } from "../../parts/copy.tsx";
import { Icon } from "../../parts/icon.tsx";
import { Panel } from "../../parts/screen.tsx";
import { useCalling } from "../../records/calling.ts";
import { hrefTo } from "../../router.ts";
import { text } from "../events/said.ts";
import type { MadeKey } from "./key.tsx";
import { ReachLimit } from "./reach-limit.tsx";

export interface FirstRequestProps {
  readonly route: string;
  readonly path: string;
  /** `null`: the route takes callers without a key. */
  readonly made: MadeKey | null;
}

/** Requests that are shown. */
const SHOWN = 5;

/** Shows how to call, and the first request as it comes. */
export function FirstRequest({ route, path, made }: FirstRequestProps) {
  const { latest } = useEvents({ type: "request", route });
  const { base, header } = useCalling();
  const key = made === null ? "" : ` -H "${header}: ${made.key}"`;
  const call = `${key} ${base}${path}`;
  return (
    <>
      {made !== null && <SecretOnce what="key" secret={made.key} />}
      <Panel title="4. Call it">
        <p>In a terminal:</p>
        <Code text={`curl -i${call}`} />
        <div aria-live="polite">
          {latest.length === 0 ? (
            <p class="waiting">Waiting for the first request…</p>
          ) : (
            <>
              <p class="arrived">
                <Icon name="check" /> Here it is. Your gateway works.
              </p>
              <ol class="list">
                {latest.slice(0, SHOWN).map((event) => (
                  <li key={event.n}>
                    <Arrived event={event} />
                  </li>
                ))}
              </ol>
            </>
          )}
        </div>
      </Panel>
      {latest.length > 0 && made !== null && <ReachLimit {...{ route, call }} consumer={made.consumer} />}
      {latest.length > 0 && <Next />}
    </>
  );
}

function Arrived({ event }: { readonly event: GatewayEvent }) {
  const status = Number(event.status);
  const isRefused = typeof event.code === "string";
  return (
    <>
      <span class="number">{clock(event.at)}</span> {text(event.method)} {text(event.path)} <b>{status}</b> in{" "}
      {millis(Number(event.latencyMs))}, {event.consumer === null ? "without a key" : text(event.consumer)}
      {isRefused && (
        <>
          {" "}
          · <a href={hrefTo(["why"], { request: text(event.requestId) })}>{text(event.code)}: why?</a>
        </>
      )}
      {!isRefused && status >= 500 && " · the backend failed: is its URL right, and does it run?"}
    </>
  );
}

const Next = () => (
  <Panel title="What next">
    <ul class="list">
      <li>
        <a href={hrefTo([])}>Now</a> shows what the gateway does.
      </li>
      <li>
        <a href={hrefTo(["why"])}>Why</a> says what applies to a caller, and why one is refused.
      </li>
      <li>
        <a href="/docs">The documentation</a> has what else there is: limits, retries, caches, https.
      </li>
    </ul>
  </Panel>
);

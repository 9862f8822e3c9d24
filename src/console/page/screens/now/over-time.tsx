import { useState } from "preact/hooks";
import { get, Problem } from "../../api.ts";
import { millis, rate, short } from "../../format.ts";
import { useLive } from "../../live.ts";
import { Chart, type Series } from "../../parts/chart.tsx";
import { Panel } from "../../parts/screen.tsx";
import type { History } from "../../shapes.ts";
import type { Rates } from "./rates.ts";

/** How far back the charts can look, and what is asked for. */
const SPANS = [
  { id: "5m", name: "5 minutes", minutes: 0, step: "" },
  { id: "1h", name: "1 hour", minutes: 60, step: "minute" },
  { id: "24h", name: "24 hours", minutes: 1440, step: "minute" },
  { id: "30d", name: "30 days", minutes: 43_200, step: "hour" },
] as const;
type Span = (typeof SPANS)[number];

/** What the charts draw, of one moment. */
type Point = Pick<Rates, "at" | "passed" | "refused" | "limited" | "failed" | "p50" | "p95" | "p99">;

/** Milliseconds between two looks at minutes that are past. */
const LOOK_EVERY = 20_000;

async function pointsOf({ minutes, step }: Span, signal: AbortSignal): Promise<readonly Point[] | null> {
  if (minutes === 0) return [];
  try {
    const from = new Date(Date.now() - minutes * 60_000).toISOString();
    const { items } = await get<History>("history", { from, step }, signal);
    return items.map(({ time, seconds, requests, clientErrors, errors, limited, p50, p95, p99 }) => {
      const each = (sum: number | null): number => (seconds > 0 ? (sum ?? 0) / seconds : 0);
      const refused = each(clientErrors);
      const failed = each(errors);
      const late = each(limited);
      return {
        at: Date.parse(time),
        refused,
        failed,
        limited: late,
        passed: Math.max(0, each(requests) - refused - failed - late),
        p50,
        p95,
        p99,
      };
    });
  } catch (error) {
    // A gateway that keeps none.
    if (error instanceof Problem && error.status === 404) return null;
    throw error;
  }
}

/** Shows rates and latencies over time: what was seen since the page is open, or what the gateway has kept. */
export function OverTime({ rates }: { readonly rates: readonly Rates[] }) {
  const [span, setSpan] = useState<Span>(SPANS[0]);
  const { value } = useLive(span.id, (signal) => pointsOf(span, signal), span.minutes === 0 ? 0 : LOOK_EVERY);
  const points: readonly Point[] = span.minutes === 0 ? rates : (value ?? []);
  const choice = (
    <fieldset class="choice">
      <legend class="hidden">How far back</legend>
      {SPANS.map((each) => (
        <label key={each.id}>
          <input type="radio" name="span" checked={each === span} onChange={() => setSpan(each)} />
          {each.name}
        </label>
      ))}
    </fieldset>
  );
  return (
    <Panel title="Over time" acts={choice}>
      {points.length < 2 ? (
        <p class="empty">
          {span.minutes > 0 && value === null
            ? "Nothing is kept for so long yet."
            : "Gathering: the first numbers are here in a few seconds."}
        </p>
      ) : (
        <>
          {span.minutes === 0 && (
            <p class="fine">Since this page is open, the last 5 minutes at most. Longer times are what the gateway has kept.</p>
          )}
          <div class="columns">
            <RateChart points={points} />
            <LatencyChart points={points} />
          </div>
        </>
      )}
    </Panel>
  );
}

const last = (points: readonly Point[]): Point | undefined => points.at(-1);

function RateChart({ points }: { readonly points: readonly Point[] }) {
  const series: readonly Series[] = [
    { name: "Passed", tone: "accent", values: points.map(({ passed }) => passed) },
    { name: "Limited", tone: "warn", values: points.map(({ limited }) => limited) },
    { name: "Refused otherwise", tone: "plain", values: points.map(({ refused }) => refused) },
    { name: "Failed", tone: "bad", values: points.map(({ failed }) => failed) },
  ];
  const end = last(points);
  return (
    <Chart
      title="Requests a second"
      says={
        end === undefined
          ? ""
          : `Lately ${rate(end.passed)} passed, ${rate(end.limited)} limited, ${rate(end.refused)} refused otherwise and ${rate(end.failed)} failed a second.`
      }
      times={points.map(({ at }) => at)}
      series={series}
      format={rate}
      axis={short}
      height={220}
    />
  );
}

function LatencyChart({ points }: { readonly points: readonly Point[] }) {
  const series: readonly Series[] = [
    { name: "Half below", tone: "accent", values: points.map(({ p50 }) => p50) },
    { name: "95 % below", tone: "warn", values: points.map(({ p95 }) => p95) },
    { name: "99 % below", tone: "bad", values: points.map(({ p99 }) => p99) },
  ];
  const end = points.findLast(({ p50 }) => p50 !== null);
  return (
    <Chart
      title="Latency"
      says={
        end === undefined
          ? "No requests."
          : `Lately half of the requests took less than ${millis(end.p50 ?? 0)}, 95 % less than ${millis(end.p95 ?? 0)}.`
      }
      times={points.map(({ at }) => at)}
      series={series}
      format={millis}
      height={220}
    />
  );
}

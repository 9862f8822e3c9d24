import type { ComponentChildren } from "preact";
import { count, millis, percent, rate, span } from "../../format.ts";
import { Sparkline } from "../../parts/chart.tsx";
import { hitShareOf, type Rates, ratesOf } from "./rates.ts";
import type { Watched } from "./watch.ts";

interface TileProps {
  readonly name: string;
  readonly value: ComponentChildren;
  readonly more?: ComponentChildren;
  readonly values?: readonly number[];
  readonly tone?: "accent" | "warn" | "bad";
}

const Tile = ({ name, value, more, values, tone = "accent" }: TileProps) => (
  <div class={`tile ${tone}`}>
    <dt>{name}</dt>
    <dd>
      <span class="figure">{value}</span>
      {more !== undefined && <span class="fine">{more}</span>}
    </dd>
    {values !== undefined && values.length > 1 && <Sparkline values={values} tone={tone} />}
  </div>
);

/** How many of the last seconds the small lines show. */
const SHOWN = 90;
/** The shares of failed and refused requests from which on they are coloured. */
const BAD_FROM = 0.01;
const WARN_FROM = 0.05;

/** Shows the numbers that one looks at first, large enough to be read from across a room. */
export function Tiles({ now, before, rates }: Required<Pick<Watched, "now" | "before" | "rates">>) {
  if (now === null || before === null) return null;
  const calm = now === before ? null : ratesOf(before, now);
  const lately = (of: (each: Rates) => number | null): number[] => rates.slice(-SHOWN).map((each) => of(each) ?? 0);
  const share = (of: number | undefined): number => (calm === null || of === undefined || calm.requests === 0 ? 0 : of / calm.requests);
  const failed = share(calm?.failed);
  const refused = share(calm === null ? 0 : calm.limited + calm.refused);
  const hits = hitShareOf(before, now);
  const latency = (value: number | null | undefined): string => (value === null || value === undefined ? "–" : millis(value));
  return (
    <dl class="tiles">
      <Tile
        name="Requests/s"
        value={calm === null ? "–" : rate(calm.requests)}
        values={lately((each) => each.requests)}
        more={`${count(now.inFlight)} under way`}
      />
      <Tile
        name="Failed"
        value={percent(failed)}
        more={`${rate(calm?.failed ?? 0)}/s`}
        values={lately((each) => each.failed)}
        tone={failed >= BAD_FROM ? "bad" : "accent"}
      />
      <Tile
        name="Refused"
        value={percent(refused)}
        more={`${rate(calm?.limited ?? 0)}/s by limits`}
        values={lately((each) => each.limited + each.refused)}
        tone={refused >= WARN_FROM ? "warn" : "accent"}
      />
      <Tile
        name="Half take below"
        value={latency(calm?.p50)}
        more={`95 % below ${latency(calm?.p95)}`}
        values={lately((each) => each.p50)}
      />
      {hits !== null && <Tile name="From the cache" value={percent(hits)} more={`${count(now.cache.hits)} in all`} />}
      {now.activities !== null && (
        <Tile
          name="Activities waiting"
          value={count(now.activities.waiting)}
          more={now.activities.waiting === 0 ? "all are applied" : `for ${span(now.activities.lag)}`}
        />
      )}
    </dl>
  );
}

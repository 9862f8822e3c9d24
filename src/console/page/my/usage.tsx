import { count, counted, money, short } from "../format.ts";
import { ceiling } from "../parts/chart.tsx";
import { Panel } from "../parts/screen.tsx";
import type { UsageOfDay } from "./api.ts";

const HEIGHT = 150;
const LEFT = 44;
const WIDTH = 640;
const BOTTOM = 26;
/** Room for half a line of the largest numbers above the grid. */
const TOP = 18;

const DAY_OF_MONTH = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });

/** Gives all days of this month until today (UTC), also those without requests. */
function daysOfMonth(days: readonly UsageOfDay[], now: Date): readonly UsageOfDay[] {
  const known = new Map(days.map((day) => [new Date(day.time).getUTCDate(), day]));
  return Array.from({ length: now.getUTCDate() }, (_, i) => {
    const time = new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), i + 1)).toISOString();
    return known.get(i + 1) ?? { time, requests: 0, errors: 0, limited: 0, tokens: 0, cost: 0 };
  });
}

/** Shows the requests of each day of this month. */
export function Usage({ days }: { readonly days: readonly UsageOfDay[] }) {
  const all = daysOfMonth(days, new Date());
  const total = all.reduce((sum, { requests }) => sum + requests, 0);
  const limited = all.reduce((sum, day) => sum + day.limited, 0);
  const cost = all.reduce((sum, day) => sum + day.cost, 0);
  const says = `${counted(total, "request")} this month, ${count(limited)} of them refused by a limit.`;
  return (
    <Panel title="This month">
      <p>
        {says}
        {cost > 0 && ` They cost ${money(cost)}.`}
      </p>
      {total > 0 && <Bars days={all} says={says} />}
      {total > 0 && <Numbers days={all} hasCost={cost > 0} />}
    </Panel>
  );
}

function Bars({ days, says }: { readonly days: readonly UsageOfDay[]; readonly says: string }) {
  const top = ceiling(Math.max(...days.map(({ requests }) => requests)));
  const step = (WIDTH - LEFT) / Math.max(days.length, 7);
  const tall = (value: number): number => ((HEIGHT - BOTTOM - TOP) * value) / top;
  const ground = HEIGHT - BOTTOM;
  return (
    <figure class="chart days">
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={`Requests by day. ${says}`}>
        <g class="grid">
          {[0, top].map((value) => (
            <g key={value}>
              <line x1={LEFT} x2={WIDTH} y1={ground - tall(value)} y2={ground - tall(value)} />
              <text x={LEFT - 6} y={ground - tall(value) + 4} text-anchor="end">
                {short(value)}
              </text>
            </g>
          ))}
        </g>
        {days.map(({ time, requests, limited }, i) => (
          <g key={time}>
            <rect class="of-day" x={LEFT + step * (i + 0.15)} width={step * 0.7} y={ground - tall(requests)} height={tall(requests)} />
            <rect
              class="of-day limited"
              x={LEFT + step * (i + 0.15)}
              width={step * 0.7}
              y={ground - tall(limited)}
              height={tall(limited)}
            />
            {(i === 0 || i === days.length - 1) && (
              <text x={LEFT + step * (i + 0.5)} y={HEIGHT - 4} text-anchor={i === 0 ? "start" : "end"}>
                {i === 0 && days.length === 1 ? "today" : DAY_OF_MONTH.format(new Date(time))}
              </text>
            )}
          </g>
        ))}
      </svg>
      <figcaption>
        <span class="key accent">requests</span>
        <span class="key bad">refused by a limit</span>
      </figcaption>
    </figure>
  );
}

const Numbers = ({ days, hasCost }: { readonly days: readonly UsageOfDay[]; readonly hasCost: boolean }) => (
  <details class="numbers">
    <summary>Numbers</summary>
    {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard. */}
    <section class="scroll short" tabIndex={0} aria-label="Requests by day, as numbers">
      <table>
        <thead>
          <tr>
            {["Day (UTC)", "Requests", "Failed", "Refused", "Tokens", ...(hasCost ? ["Cost"] : [])].map((name, i) => (
              <th key={name} scope="col" class={i === 0 ? "" : "number"}>
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {days.toReversed().map(({ time, requests, errors, limited, tokens, cost }) => (
            <tr key={time}>
              <th scope="row">{DAY_OF_MONTH.format(new Date(time))}</th>
              {[requests, errors, limited, tokens].map((value, i) => (
                <td key={i} class="number">
                  {count(value)}
                </td>
              ))}
              {hasCost && <td class="number">{money(cost)}</td>}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  </details>
);

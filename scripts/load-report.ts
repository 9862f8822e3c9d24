import { type Figures, type Kind, percentile, type Second, sortedTimes } from "./load-figures.ts";

export interface Report {
  readonly title: string;
  readonly began: Date;
  /** Seconds. */
  readonly took: number;
  readonly summary: readonly string[];
  readonly figures: Figures;
}

/** Gives a page without scripts or anything from elsewhere: users, response times, requests and failures over time, and tables of them. */
export function reportPage({ title, began, took, summary, figures }: Report): string {
  const { width, points } = pointsOf(figures.seconds);
  const charts = [
    chart("Requests a second", "", width, [
      { name: "all", values: points.map(({ requests }) => requests) },
      { name: "failures", values: points.map(({ failures }) => failures) },
      ...(figures.all.limited > 0 ? [{ name: "refused by a limit", values: points.map(({ limited }) => limited) }] : []),
    ]),
    chart("Response times", " ms", width, [
      { name: "p50", values: points.map(({ p50 }) => p50) },
      { name: "p95", values: points.map(({ p95 }) => p95) },
      { name: "p99", values: points.map(({ p99 }) => p99) },
    ]),
    chart("Users", "", width, [{ name: "users", values: points.map(({ users }) => users) }]),
  ];
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${escaped(title)}</title><style>${STYLE}</style></head>
<body><main><h1>${escaped(title)}</h1>
<p>${escaped(began.toISOString())}, ${took.toFixed(1)} s</p>
<pre>${escaped(summary.join("\n"))}</pre>
<h2>Requests</h2>${requestsTable(figures, took)}
<h2>Failures</h2>${failuresTable(figures)}
${charts.join("\n")}
<details><summary>The charts' figures as a table</summary>${pointsTable(points, width)}</details>
</main></body></html>
`;
}

const STYLE = `
:root{color-scheme:light dark;--ground:#fff;--ink:#1f2328;--soft:#f6f8fa;--edge:#d1d9e0;--line-0:#0969da;--line-1:#bc4c00;--line-2:#8250df}
@media(prefers-color-scheme:dark){:root{--ground:#0d1117;--ink:#e6edf3;--soft:#161b22;--edge:#3d444d;--line-0:#58a6ff;--line-1:#f0883e;--line-2:#bc8cff}}
body{font:16px/1.5 system-ui,sans-serif;background:var(--ground);color:var(--ink);margin:0}
main{max-width:72rem;margin:0 auto;padding:1rem}
pre{white-space:pre-wrap;overflow-wrap:anywhere;background:var(--soft);padding:.75rem}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .45rem;border-bottom:1px solid var(--edge);text-align:right;white-space:nowrap}
th:first-child,td.text,th.text{text-align:left}
td.text{white-space:normal;overflow-wrap:anywhere}
tfoot{font-weight:bold}
figure{margin:1rem 0}
svg{width:100%;min-width:34rem;height:auto;background:var(--soft)}
svg text{fill:var(--ink);font:12px system-ui,sans-serif}
.grid{stroke:var(--edge)}
path{fill:none;stroke-width:2;stroke-linecap:round}
.line-0{stroke:var(--line-0)}.line-1{stroke:var(--line-1);stroke-dasharray:7 3}.line-2{stroke:var(--line-2);stroke-dasharray:2 3}
figcaption svg{width:2rem;min-width:0;background:none;vertical-align:middle}
figcaption span{margin-right:1.25rem}`;

/** One point of the charts. Rates a second, times in milliseconds. */
interface Point {
  readonly users: number;
  readonly requests: number;
  readonly failures: number;
  readonly limited: number;
  /** `null`: nothing was answered. */
  readonly p50: number | null;
  readonly p95: number | null;
  readonly p99: number | null;
}

/** A page stays readable, and of a size to be sent, however long the test took. */
const MAX_POINTS = 600;

/** Joins seconds to as many points as a chart can show, each `width` seconds wide. */
function pointsOf(seconds: readonly Second[]): { readonly width: number; readonly points: readonly Point[] } {
  const width = Math.max(1, Math.ceil(seconds.length / MAX_POINTS));
  const points: Point[] = [];
  for (let from = 0; from < seconds.length; from += width) {
    const part = seconds.slice(from, from + width);
    const sum = (of: (second: Second) => number) => part.reduce((total, second) => total + of(second), 0) / part.length;
    const times = sortedTimes(part.flatMap((second) => second.times));
    points.push({
      users: Math.max(...part.map(({ users }) => users)),
      requests: sum(({ requests }) => requests),
      failures: sum(({ failures }) => failures),
      limited: sum(({ limited }) => limited),
      p50: times.length === 0 ? null : percentile(times, 0.5),
      p95: times.length === 0 ? null : percentile(times, 0.95),
      p99: times.length === 0 ? null : percentile(times, 0.99),
    });
  }
  return { width, points };
}

interface Line {
  readonly name: string;
  /** `null`: nothing to be drawn there. */
  readonly values: readonly (number | null)[];
}

const WIDTH = 800;
const HEIGHT = 220;
/** What the labels of the axes take. */
const LEFT = 64;
const BELOW = 24;

function chart(title: string, unit: string, width: number, lines: readonly Line[]): string {
  const most = Math.max(0, ...lines.flatMap(({ values }) => numbers(values)));
  const step = stepOf(most / 4);
  const top = step * Math.max(1, Math.ceil(most / step));
  const count = Math.max(1, (lines[0]?.values.length ?? 0) - 1);
  const x = (at: number) => LEFT + (at / count) * (WIDTH - LEFT - 8);
  const y = (value: number) => HEIGHT - BELOW - (value / top) * (HEIGHT - BELOW - 8);
  const grid = Array.from({ length: Math.round(top / step) + 1 }, (_, i) => i * step).map(
    (value) =>
      `<line class="grid" x1="${LEFT}" x2="${WIDTH - 8}" y1="${y(value).toFixed(1)}" y2="${y(value).toFixed(1)}"/><text x="${LEFT - 6}" y="${(y(value) + 4).toFixed(1)}" text-anchor="end">${escaped(shown(value) + unit)}</text>`,
  );
  const marks = [0, 0.25, 0.5, 0.75, 1].map((share) => {
    const anchor = share === 0 ? "start" : share === 1 ? "end" : "middle";
    return `<text x="${x(share * count).toFixed(1)}" y="${HEIGHT - 6}" text-anchor="${anchor}">${shown(share * count * width)} s</text>`;
  });
  const drawn = lines.map(({ values }, i) => {
    let pen = "M";
    const path = values.map((value, at) => {
      if (value === null) pen = "M";
      else {
        const to = `${pen}${x(at).toFixed(1)},${y(value).toFixed(1)}`;
        pen = "L";
        // A line to where it is shows a point that stands alone.
        return to + (values[at + 1] == null ? "h0" : "");
      }
      return "";
    });
    return `<path class="line-${i}" d="${path.join("")}"/>`;
  });
  const legend = lines.map(
    ({ name }, i) =>
      `<span><svg viewBox="0 0 32 8" aria-hidden="true"><line class="line-${i}" stroke-width="2" x1="0" x2="32" y1="4" y2="4"/></svg> ${escaped(name)}</span>`,
  );
  const sentence = `${title} over ${count * width} seconds: ${lines
    .map(
      ({ name, values }) =>
        `${name} ${shown(meanOf(numbers(values)))}${unit} on average, ${shown(Math.max(0, ...numbers(values)))}${unit} at most`,
    )
    .join("; ")}.`;
  return `<h2>${escaped(title)}</h2><figure><div class="wide" tabindex="0" role="group" aria-label="${escaped(title)}">
<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escaped(sentence)}">${grid.join("")}${marks.join("")}
${drawn.join("\n")}</svg></div><figcaption>${legend.join("")}</figcaption></figure>`;
}

/** Gives the least of 1, 2, 2.5, 5, 10, 20, … that is not below `least`. */
function stepOf(least: number): number {
  if (!(least > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(least));
  return ([1, 2, 2.5, 5].find((factor) => factor * power >= least) ?? 10) * power;
}

const numbers = (values: readonly (number | null)[]): number[] => values.filter((value) => value !== null);

const meanOf = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);

/** Writes a number as short as people read it. */
const shown = (value: number): string =>
  value.toLocaleString("en", { maximumFractionDigits: value < 10 ? 2 : value < 100 ? 1 : 0, useGrouping: false });

const cells = (values: readonly string[]): string => values.map((value) => `<td>${escaped(value)}</td>`).join("");
const heads = (names: readonly string[]): string => names.map((name) => `<th scope="col">${escaped(name)}</th>`).join("");

function requestsTable(figures: Figures, took: number): string {
  const columns = [
    "Requests",
    "Failures",
    "429",
    "Median ms",
    "p95 ms",
    "p99 ms",
    "Min ms",
    "Max ms",
    "Average bytes",
    "Requests/s",
    "Failures/s",
  ];
  const row = ({ times, requests, failures, limited, bytes }: Kind): string => {
    const sorted = sortedTimes(times);
    const milliseconds = [0.5, 0.95, 0.99].map((share) => percentile(sorted, share));
    return cells(
      [
        requests,
        failures,
        limited,
        ...milliseconds,
        sorted[0] ?? 0,
        sorted.at(-1) ?? 0,
        bytes / Math.max(1, times.length),
        requests / took,
        failures / took,
      ].map(shown),
    );
  };
  const body = [...figures.kinds].map(([name, kind]) => `<tr><th scope="row">${escaped(name)}</th>${row(kind)}</tr>`);
  return `<div class="wide" tabindex="0" role="group" aria-label="Requests"><table><thead><tr>${heads(["Request", ...columns])}</tr></thead><tbody>${body.join("")}</tbody>
<tfoot><tr><th scope="row">all</th>${row(figures.all)}</tr></tfoot></table></div>`;
}

function failuresTable({ failures }: Figures): string {
  if (failures.size === 0) return "<p>None.</p>";
  const body = [...failures.values()]
    .sort((a, b) => b.count - a.count)
    .map(
      ({ kind, what, count }) => `<tr><td>${count}</td><td class="text">${escaped(kind)}</td><td class="text">${escaped(what)}</td></tr>`,
    );
  return `<table><thead><tr><th scope="col">How often</th><th scope="col" class="text">Request</th><th scope="col" class="text">What</th></tr></thead><tbody>${body.join("")}</tbody></table>`;
}

function pointsTable(points: readonly Point[], width: number): string {
  const body = points.map(
    ({ users, requests, failures, limited, p50, p95, p99 }, i) =>
      `<tr><th scope="row">${i * width}</th>${cells([users, requests, failures, limited, p50, p95, p99].map((value) => (value === null ? "" : shown(value))))}</tr>`,
  );
  const columns = ["Second", "Users", "Requests/s", "Failures/s", "429/s", "p50 ms", "p95 ms", "p99 ms"];
  return `<div class="wide" tabindex="0" role="group" aria-label="Figures"><table><thead><tr>${heads(columns)}</tr></thead><tbody>${body.join("")}</tbody></table></div>`;
}

const escaped = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");

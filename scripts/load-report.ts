/** What happened in one second of a load test. Response times in milliseconds. */
export interface Second {
  readonly users: number;
  readonly times: number[];
  failures: number;
}

/** A page without scripts or anything from elsewhere: users, requests a second and response times, over time. */
export function reportPage(title: string, summary: readonly string[], seconds: readonly Second[]): string {
  const sorted = seconds.map(({ times }) => times.toSorted((a, b) => a - b));
  const percentile = (share: number) => sorted.map((times) => times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? 0);
  const charts = [
    chart("Requests a second", [
      { name: "all", colour: "#1f6feb", values: seconds.map(({ times, failures }) => times.length + failures) },
      { name: "failed", colour: "#d1242f", values: seconds.map(({ failures }) => failures) },
    ]),
    chart("Response times in ms", [
      { name: "p50", colour: "#1a7f37", values: percentile(0.5) },
      { name: "p95", colour: "#bf8700", values: percentile(0.95) },
      { name: "p99", colour: "#d1242f", values: percentile(0.99) },
    ]),
    chart("Users", [{ name: "users", colour: "#8250df", values: seconds.map(({ users }) => users) }]),
  ];
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>${escaped(title)}</title>
<style>body{font:15px system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem}svg{width:100%;height:auto}pre{white-space:pre-wrap}</style>
<h1>${escaped(title)}</h1><pre>${escaped(summary.join("\n"))}</pre>${charts.join("")}</html>
`;
}

const WIDTH = 800;
const HEIGHT = 200;

interface Line {
  readonly name: string;
  readonly colour: string;
  readonly values: readonly number[];
}

function chart(title: string, lines: readonly Line[]): string {
  const top = Math.max(1, ...lines.flatMap(({ values }) => values));
  const count = Math.max(1, ...lines.map(({ values }) => values.length - 1));
  const points = (values: readonly number[]) =>
    values.map((value, i) => `${((i / count) * WIDTH).toFixed(1)},${(HEIGHT - (value / top) * HEIGHT).toFixed(1)}`).join(" ");
  const legend = lines.map(({ name, colour }) => `<span style="color:${colour}">■ ${escaped(name)}</span>`).join(" ");
  return `<h2>${escaped(title)}</h2><p>${legend}, up to ${Math.round(top * 10) / 10}, over ${count} s</p>
<svg viewBox="-2 -2 ${WIDTH + 4} ${HEIGHT + 4}" role="img" aria-label="${escaped(title)}"><rect width="${WIDTH}" height="${HEIGHT}" fill="#f6f8fa"/>
${lines.map(({ values, colour }) => `<polyline fill="none" stroke="${colour}" stroke-width="2" points="${points(values)}"/>`).join("")}</svg>`;
}

const escaped = (text: string): string => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");

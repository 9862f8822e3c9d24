import type { Config } from "../config/schema.ts";
import { demoRequests } from "../demo/banner.ts";
import { VERSION } from "../version.ts";
import { PAGE_HEADERS } from "./kept.ts";

/** Paths that Sluice answers itself where no route is meant. */
export const PAGE_PATHS: readonly string[] = ["/", "/docs"];

/** A page of Sluice's own, as HTML and as JSON. */
export interface Page {
  readonly html: string;
  readonly json: object;
}

/** The pages that no route stands in the way of: those whose path is no route's, none is below, and none but `/` covers. `/` itself is any route's that has this path. */
export function freePages(routes: Iterable<{ readonly path: string }>): ReadonlySet<string> {
  const free = new Set(PAGE_PATHS);
  for (const { path } of routes) {
    const prefix = path.length > 1 ? path.replace(/\/$/, "") : path;
    if (prefix === "/") free.delete("/");
    else
      for (const page of PAGE_PATHS)
        if (page !== "/" && (prefix === page || prefix.startsWith(`${page}/`) || page.startsWith(`${prefix}/`))) free.delete(page);
  }
  return free;
}

const escaped = (text: string): string => text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);

const page = (title: string, body: string): string => `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)}</title>
<link rel="icon" href="/swagger/assets/icon.svg">
<link rel="stylesheet" href="/swagger/assets/landing.css">
</head>
<body>
<main>
${body}
</main>
</body>
</html>
`;

const link = (href: string, text: string, words: string): string => `<li><a href="${href}">${text}</a>: ${words}</li>`;

const LINKS = {
  docs: "/docs",
  swagger: "/swagger",
  openapi: "/swagger/json",
  health: "/health",
  ready: "/ready",
};

/** What stands at `/`. `demo`: the embedded demo's configuration, whose keys are public; `null` for any other, whose keys are nobody's business. `origin` such as `http://localhost:8080`. */
export function landing(demo: Config | null, origin: string): Page {
  const requests = demo === null ? [] : demoRequests(demo, origin);
  const tryIt =
    requests.length === 0
      ? ""
      : `<h2>Try it</h2>
<p>This is the demo. Its keys are public: use a <code>config.json</code> of your own for anything else.</p>
<dl>
${requests.map(({ label, command }) => `<dt>${escaped(label)}</dt><dd><pre><code>${escaped(command)}</code></pre></dd>`).join("\n")}
</dl>
`;
  return {
    html: page(
      "Sluice",
      `<h1>Sluice</h1>
<p>This is an API gateway. It knows who calls, decides how much they may call, and forwards what may pass.</p>
<ul>
${link(LINKS.docs, "Documentation", "where to begin")}
${link(LINKS.swagger, "API", "every endpoint of the admin API, to read and to try")}
${link(LINKS.health, "Health", "whether the gateway is alive")}
${link(LINKS.ready, "Readiness", "whether it takes requests, and what an operator must know")}
</ul>
${tryIt}<p class="version">Version ${escaped(VERSION)}</p>`,
    ),
    json: { name: "Sluice", version: VERSION, links: LINKS, ...(requests.length === 0 ? {} : { demo: requests }) },
  };
}

/** What stands at `/docs`. */
export const DOCS: Page = {
  html: page(
    "Sluice documentation",
    `<h1>Documentation</h1>
<ul>
${link(LINKS.swagger, "API reference", "every endpoint, with its fields, answers and errors; you can send requests from there")}
${link(LINKS.openapi, "OpenAPI document", "the same for programs: generate a client from it")}
</ul>
<h2>On the command line</h2>
<dl>
<dt>Every command</dt><dd><pre><code>sluice --help</code></pre></dd>
<dt>The configuration file: every field, its default and what it does</dt><dd><pre><code>sluice schema</code></pre></dd>
<dt>What is wrong with a configuration file</dt><dd><pre><code>sluice check config.json</code></pre></dd>
<dt>Why a caller is limited or refused</dt><dd><pre><code>sluice explain --consumer acme</code></pre></dd>
</dl>
<p>The guides are in the folder <code>docs</code> of the release that you run.</p>
<p><a href="/">Back</a></p>`,
  ),
  json: {
    name: "Sluice",
    version: VERSION,
    links: { swagger: LINKS.swagger, openapi: LINKS.openapi },
    commands: ["sluice --help", "sluice schema", "sluice check config.json", "sluice explain --consumer acme"],
  },
};

/** Styles of these pages. */
export const LANDING_STYLE = `:root { color-scheme: light dark; }
body { margin: 0; font: 1rem/1.5 system-ui, sans-serif; }
main { max-width: 52rem; margin: 0 auto; padding: 2rem 1rem; }
pre { overflow-x: auto; padding: 0.6rem 0.8rem; border: 1px solid #8886; border-radius: 6px; }
dt { margin-top: 1rem; }
dd { margin: 0; }
.version { opacity: 0.7; }
`;

/** Header lines of a page, `Content-Type` among them. */
export const pageHead = (type: string): string =>
  `Content-Type: ${type}\r\nVary: Accept\r\n${Object.entries(PAGE_HEADERS)
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join("")}`;

/** Whether a caller would rather have a page than JSON: a browser names text/html, programs mostly don't. */
export const wantsPage = (accept: string | null): boolean => accept !== null && /\btext\/html\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))/i.test(accept);

import type { Config } from "../config/schema.ts";
import { declaredKey } from "../consumers/settings.ts";
import { demoRequests } from "../demo/banner.ts";
import { PUBLIC_KEYS } from "../demo/public-keys.ts";
import { PAGE_HEADERS } from "../http/static-text.ts";
import { VERSION } from "../version.ts";
import { docAt, llmsText } from "./docs.ts";

/** Paths that Sluice answers itself where no route is meant. */
const PAGES: readonly string[] = ["/", "/docs", "/llms.txt", "/console", "/my"];

const HTML = "text/html; charset=utf-8";

/** Holds a text as it goes over the wire. */
interface Text {
  readonly type: string;
  readonly body: Uint8Array;
}

/** Tells which of the pages a path belongs to, or is below; `null` for none. */
export const pageOf = (path: string): string | null =>
  PAGES.find((page) => path === page || (page !== "/" && path.startsWith(`${page}/`))) ?? null;

/**
 * Gives the pages that no route stands in the way of: those whose path is no route's, none is below, and none but `/` covers. `/` itself is
 * any route's that has this path.
 */
export function freePages(routes: Iterable<{ readonly path: string }>): ReadonlySet<string> {
  const free = new Set(PAGES);
  for (const { path } of routes) {
    const prefix = path.length > 1 ? path.replace(/\/$/, "") : path;
    if (prefix === "/") free.delete("/");
    else
      for (const page of PAGES)
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
  console: "/console",
  swagger: "/swagger",
  openapi: "/swagger/json",
  health: "/health",
  ready: "/ready",
  llms: "/llms.txt",
};

const { console: _, ...linksElsewhere } = LINKS;

/**
 * Gives the configuration with no other consumers than those with public keys; `null` where there are none, since it is not the demo's
 * then.
 */
export function demoOf(config: Config): Config | null {
  const consumers = config.consumers.filter(({ keys }) => keys.length > 0 && keys.every((key) => PUBLIC_KEYS.has(declaredKey(key).key)));
  return config.demo && consumers.length > 0 ? { ...config, consumers } : null;
}

/** Says what the page at `/` depends on. */
export interface Surroundings {
  /** The embedded demo's configuration, whose keys are public; `null` for any other, whose keys are nobody's business. */
  readonly demo: Config | null;
  /** Such as `http://localhost:8080`. */
  readonly origin: string;
  /** True where /console is the console for whoever asks, and not a backend's page or a refusal. */
  readonly hasConsole: boolean;
}

/** Makes the page at `/`. */
function landing({ demo, origin, hasConsole }: Surroundings): { html: string; json: object } {
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
${hasConsole ? link(LINKS.console, "Console", "what the gateway does now, and why; for who has an admin token") : ""}
${link(LINKS.swagger, "API", "every endpoint of the admin API, to read and to try")}
${link(LINKS.health, "Health", "whether the gateway is alive")}
${link(LINKS.ready, "Readiness", "whether it takes requests, and what an operator must know")}
</ul>
${tryIt}<p class="version">Version ${escaped(VERSION)}</p>`,
    ),
    json: {
      name: "Sluice",
      version: VERSION,
      links: hasConsole ? LINKS : linksElsewhere,
      ...(requests.length === 0 ? {} : { demo: requests }),
    },
  };
}

/** Pages that were framed, by their Markdown. */
const framed = new Map<string, Text>();

/**
 * Gives what stands at `/docs` and below: a page for a browser, Markdown for a program and for a path that ends so. `null` where there is
 * no page.
 */
async function docs(path: string, isPage: boolean): Promise<Text | null> {
  const doc = await docAt(path);
  if (doc === null) return null;
  if (!isPage || path.endsWith(".md")) return { type: "text/markdown; charset=utf-8", body: Buffer.from(doc.markdown) };
  let text = framed.get(doc.markdown);
  if (text === undefined) {
    const nav = `<nav><a href="/docs">Documentation</a> <a href="/swagger">API reference</a></nav>`;
    text = { type: HTML, body: Buffer.from(page(`${doc.title} · Sluice`, `${nav}\n${doc.html()}`)) };
    framed.set(doc.markdown, text);
  }
  return text;
}

/** Gives the text of a page of our own, or `null` where there is none. */
export async function pageAt(path: string, isPage: boolean, surroundings: Surroundings): Promise<Text | null> {
  if (path === "/llms.txt") return { type: "text/plain; charset=utf-8", body: Buffer.from(await llmsText()) };
  if (path !== "/") return docs(path, isPage);
  const { html, json } = landing(surroundings);
  return isPage ? { type: HTML, body: Buffer.from(html) } : { type: "application/json", body: Buffer.from(JSON.stringify(json)) };
}

/** Styles of these pages. */
export const LANDING_STYLE = `:root { color-scheme: light dark; }
body { margin: 0; font: 1rem/1.5 system-ui, sans-serif; }
main { max-width: 52rem; margin: 0 auto; padding: 2rem 1rem; }
nav { display: flex; gap: 1.5rem; }
table { display: block; overflow-x: auto; border-collapse: collapse; }
th, td { padding: 0.3rem 0.6rem; border: 1px solid #8886; text-align: left; vertical-align: top; }
pre { overflow-x: auto; padding: 0.6rem 0.8rem; border: 1px solid #8886; border-radius: 6px; }
dt { margin-top: 1rem; }
dd { margin: 0; }
.version { opacity: 0.7; }
`;

/** Gives the header lines of a page, `Content-Type` among them. */
export const pageHead = (type: string): string =>
  `Content-Type: ${type}\r\nVary: Accept\r\n${Object.entries(PAGE_HEADERS)
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join("")}`;

/** Tells whether a caller would rather have a page than JSON: a browser names text/html, programs mostly don't. */
export const wantsPage = (accept: string | null): boolean => accept !== null && /\btext\/html\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))/i.test(accept);

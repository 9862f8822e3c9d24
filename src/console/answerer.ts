import type { Answer } from "../exchange/answer.ts";
import type { Answerer } from "../exchange/line.ts";
import { problem } from "../http/problem.ts";
import { date, reasonOf } from "../http/reply.ts";
import { ICON, isNoneMatch, takesCoding } from "../http/static-text.ts";
import { bundleOf, type PageFile, type PageFiles } from "./bundle.ts";
import type { PageSource } from "./pages.ts";

/**
 * The header fields of a page and of its files. Nothing may be loaded from, sent to or framed by anybody else, and no script can write HTML:
 * what backends and callers name, such as paths and consumers, stays text.
 */
const HEADERS = `Content-Security-Policy: ${[
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join("; ")}\r\nCross-Origin-Opener-Policy: same-origin\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n`;

const NO_FILE = problem("routeNotFound", "The page has no such file.");

const htmlOf = ({ path, title, withoutScript }: PageSource): string => `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title}</title>
<link rel="icon" href="${path}/icon.svg">
<link rel="stylesheet" href="${path}/app.css">
<script type="module" src="${path}/app.js"></script>
</head>
<body>
<div id="app"></div>
<noscript>${withoutScript}</noscript>
</body>
</html>
`;

/** Tells whether a path's last part names a file, not something that the page shows. */
const namesFile = (path: string): boolean => /\.(js|css|svg|map|ico)$/.test(path);

/**
 * Makes the answerer of a page that a script draws: the page itself at its path and everywhere below, so that a link can lead to whatever
 * it shows, and its files. They hold nothing of the gateway's, so that no token is asked for.
 */
export function scriptedPage(page: PageSource): Answerer {
  const html = Buffer.from(htmlOf(page));
  const icon = Buffer.from(ICON);
  let made: Promise<PageFiles> | null = null;
  const files = (): Promise<PageFiles> => {
    made ??= bundleOf(page).catch((error: unknown) => {
      made = null;
      throw error;
    });
    return made;
  };
  return ({ path, incoming: { head } }) => {
    const file = path.slice(page.path.length + 1);
    if (file === "app.js" || file === "app.css")
      return files().then(({ script, style }) => fileAnswer(file === "app.js" ? script : style, head.fields));
    if (file === "icon.svg") return answer(200, "Content-Type: image/svg+xml\r\nCache-Control: max-age=3600\r\n", icon);
    if (namesFile(file)) return { kind: "problem", problem: NO_FILE };
    return answer(200, "Content-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\n", html);
  };
}

const answer = (status: number, lines: string, body: Uint8Array | string): Answer => ({
  kind: "reply",
  reply: { status, reason: reasonOf(status), head: `${lines}${HEADERS}${date()}`, body, length: -1 },
});

/** Holds the fields of a request that choose what of a file is sent. */
interface Asked {
  get(name: string): string | null;
  joined(name: string): string | null;
}

/** Answers with a file in the smallest coding that the browser takes, or 304 to one that has it already. */
function fileAnswer({ type, etag, br, gzip, plain }: PageFile, asked: Asked): Answer {
  const kept = `ETag: ${etag}\r\nCache-Control: no-cache\r\nVary: Accept-Encoding\r\n`;
  if (isNoneMatch(asked.joined("if-none-match"), etag)) return answer(304, kept, "");
  const accepted = asked.joined("accept-encoding");
  const lines = `Content-Type: ${type}\r\n${kept}`;
  if (takesCoding(accepted, "br")) return answer(200, `${lines}Content-Encoding: br\r\n`, br);
  return takesCoding(accepted, "gzip") ? answer(200, `${lines}Content-Encoding: gzip\r\n`, gzip) : answer(200, lines, plain);
}

import type { Config } from "../config/schema.ts";
import type { Exchange } from "../exchange/exchange.ts";
import type { Answerer } from "../exchange/line.ts";
import { problem } from "../http/problem.ts";
import { date } from "../http/reply.ts";
import { demoOf, pageAt, pageHead, wantsPage } from "./landing.ts";

const NO_PAGE = problem("routeNotFound", "The documentation has no such page; /docs lists what there is.");

/** Matches what may stand in a page as the name by which somebody came. */
const SANE_HOST = /^[A-Za-z0-9.-]{1,253}(:\d{1,5})?$|^\[[0-9A-Fa-f:.]{2,45}\](:\d{1,5})?$/;

export interface PageAnswererDeps {
  readonly config: () => Config;
  /** Tells whether /console is the console for whoever sends a request. */
  readonly leadsToConsole: (exchange: Exchange) => boolean;
}

/**
 * Answers with a page of our own for who comes with a browser, or the same as JSON. The demo's keys are public; those of any other
 * configuration are nobody's business.
 */
export const pageAnswerer =
  ({ config, leadsToConsole }: PageAnswererDeps): Answerer =>
  async (exchange) => {
    const { incoming, path } = exchange;
    const { fields } = incoming.head;
    const host = fields.get("host") ?? "";
    const origin = `${incoming.isTls ? "https" : "http"}://${SANE_HOST.test(host) ? host : `localhost:${incoming.connection.server.port}`}`;
    const found = await pageAt(path, wantsPage(fields.joined("accept")), {
      demo: demoOf(config()),
      origin,
      hasConsole: leadsToConsole(exchange),
    });
    if (found === null) return { kind: "problem", problem: NO_PAGE };
    const head = `${pageHead(found.type)}${date()}Cache-Control: no-cache\r\n`;
    return { kind: "reply", reply: { status: 200, reason: "OK", head, body: found.body, length: -1 } };
  };

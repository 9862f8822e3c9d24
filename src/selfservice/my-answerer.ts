import { Type } from "@sinclair/typebox";
import type { Answer } from "../exchange/answer.ts";
import type { Exchange } from "../exchange/exchange.ts";
import type { Guard } from "../guard/guard.ts";
import { timeText } from "../http/conventions.ts";
import { readJson } from "../http/json-body.ts";
import { isLook } from "../http/methods.ts";
import { cookiesIn, cookieText, MAX_COOKIES, MY_COOKIE, ownCookie } from "../http/own-cookies.ts";
import { ipBlocked, problem } from "../http/problem.ts";
import { Refused } from "../http/refused.ts";
import { type Browser, isOfOwnPage } from "../sessions/browser.ts";
import type { Changes, Outcome } from "./changes.ts";
import { type KeysAnswerer, NOTHING_HERE, only } from "./keys-answerer.ts";
import { LET_IN_FOR, type LetIn, type Links } from "./links.ts";
import type { Standing } from "./standing.ts";

/** Where the page for consumers signs in and out, and below which it asks for what /api/v1 answers. */
const SESSION_PATH = "/my/session";
const ME_PATH = "/my/api/me";
const KEYS_PATH = "/my/api/me/keys";

const LINK = {
  schema: Type.Object({ link: Type.String({ minLength: 1, maxLength: 512 }) }, { additionalProperties: false }),
  max: 4096,
  advice: 'send { "link": "SECRET" }',
};

const LINK_GONE = problem(
  "keyInvalid",
  "This link does not work, or not any more: it works once, and not for long. Ask whoever gave it to you for another.",
);
const NOT_IN = problem("keyMissing", "You are not let in, or not any more: ask whoever runs the API for a link.");
const FOREIGN = problem(
  "forbidden",
  "A change by this page's cookie needs the header X-Sluice-Console and an Origin that is the gateway's own address. Programs use /api/v1/me with a key.",
);

export interface MyAnswererDeps {
  readonly links: Links;
  readonly guard: Guard;
  readonly standing: Standing;
  readonly keys: KeysAnswerer;
  readonly changes: Changes;
  /** Tells how a request has come. */
  readonly browserOf: (exchange: Exchange) => Pick<Browser, "origins" | "isSecure">;
}

/** Answers the page for consumers, who have come by an operator's link: what callers with keys get below /api/v1, by a cookie. */
export class MyAnswerer {
  constructor(private readonly deps: MyAnswererDeps) {}

  answer(exchange: Exchange): Answer | Promise<Answer> {
    const { path, incoming } = exchange;
    const { method } = incoming.head;
    if (path === SESSION_PATH) {
      if (method === "POST") return this.letIn(exchange);
      return method === "DELETE" ? this.leave(exchange) : only("DELETE", "POST");
    }
    if (path === ME_PATH) return isLook(method) ? this.me(exchange) : only("GET", "HEAD");
    if (path !== KEYS_PATH && !path.startsWith(`${KEYS_PATH}/`)) return { kind: "problem", problem: NOTHING_HERE };
    return this.deps.keys.answer(exchange, path.slice(KEYS_PATH.length), () => {
      const { id, consumer } = this.found(exchange);
      return { holder: { consumer, key: null, hash: null }, credential: id };
    });
  }

  /**
   * Lets in who opens a link, and gives the browser the cookie by which it is known again. A wrong link counts in the guard, and is refused
   * before it waits for its turn to change something: strangers must not keep others from theirs.
   */
  private letIn(exchange: Exchange): Promise<Answer> {
    const { links, guard, changes, browserOf } = this.deps;
    const { isSecure, origins } = browserOf(exchange);
    return changes.answer(exchange, async () => {
      const origin = exchange.incoming.head.fields.get("origin");
      if (origin !== null && !origins.includes(origin)) throw new Refused(FOREIGN);
      if (exchange.blockedFor > 0) throw new Refused(ipBlocked(exchange.blockedFor));
      const asked = await readJson(exchange.incoming.body, LINK);
      const wrong = (): Refused => {
        guard.strike(exchange.ip);
        return new Refused(LINK_GONE);
      };
      if (!links.isThere(asked.link)) throw wrong();
      const work = (): Outcome => {
        // Somebody else may have opened it meanwhile.
        const opened = links.open(asked.link, exchange);
        if (opened === null) throw wrong();
        const { id, consumer, expiresAt } = opened;
        const value = { consumer: consumer.id, expiresAt: timeText(expiresAt) };
        return { status: 201, value, headers: [["Set-Cookie", cookieOf(id, LET_IN_FOR / 1000, isSecure)]] };
      };
      return { consumer: null, credential: null, asked, work };
    });
  }

  private leave(exchange: Exchange): Promise<Answer> {
    const { links, changes, browserOf } = this.deps;
    return changes.answer(exchange, async () => {
      const { id, consumer } = this.found(exchange);
      const work = (): Outcome => {
        links.close(id);
        return { status: 204, headers: [["Set-Cookie", cookieOf("", 0, browserOf(exchange).isSecure)]] };
      };
      return { consumer: consumer.id, credential: null, asked: {}, work };
    });
  }

  private me(exchange: Exchange): Promise<Answer> {
    const { changes, standing } = this.deps;
    return changes.look(async () => {
      const { consumer, expiresAt } = this.found(exchange);
      return { ...(await standing.byLink(consumer)), until: timeText(expiresAt) };
    });
  }

  /** Gives who sends a request by its cookie. Throws `Refused` where nobody is let in by it, and for a change that may be another page's. */
  private found(exchange: Exchange): LetIn & { readonly id: string } {
    const { fields, method } = exchange.incoming.head;
    for (const id of cookiesIn(cookieText(fields), MY_COOKIE).slice(0, MAX_COOKIES)) {
      const letIn = this.deps.links.find(id);
      if (letIn === null) continue;
      if (!isLook(method) && !isOfOwnPage(fields, this.deps.browserOf(exchange))) throw new Refused(FOREIGN);
      return { ...letIn, id };
    }
    throw new Refused(exchange.blockedFor > 0 ? ipBlocked(exchange.blockedFor) : NOT_IN);
  }
}

/** Writes the cookie of the page for consumers; `maxAge` in seconds. */
const cookieOf = (id: string, maxAge: number, isSecure: boolean): string =>
  ownCookie(`${MY_COOKIE}=${id}`, "Strict", "/my", maxAge, isSecure);

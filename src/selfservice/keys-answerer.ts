import { Type } from "@sinclair/typebox";
import type { Answer } from "../exchange/answer.ts";
import type { Exchange } from "../exchange/exchange.ts";
import { readJson } from "../http/json-body.ts";
import { isLook } from "../http/methods.ts";
import { type Problem, problem } from "../http/problem.ts";
import type { KeyRecord } from "../keys/keys.ts";
import type { Changes, Outcome } from "./changes.ts";
import { type Holder, type OwnKeys, WantedKey } from "./own-keys.ts";

/** Describes the body of a rotation, which may be left out: there is nothing to choose, or a caller would get more than an operator gave. */
const NOTHING = { schema: Type.Object({}, { additionalProperties: false }), max: 4096, advice: "send none, or {}", empty: {} };
const WANTED = { schema: WantedKey, max: 65_536, advice: 'send { "name": "NAME" }, or none', empty: {} };

/** Says who asks: whose keys these are, and what lets them in. */
export interface Asker {
  readonly holder: Holder;
  /** See `Change.credential`. */
  readonly credential: string | null;
}

/** Matches what follows the path of the keys. */
const BELOW = /^\/([A-Za-z0-9_]{1,128})(\/rotate)?$/;

/** Answers what consumers ask about keys of their own. */
export class KeysAnswerer {
  constructor(
    private readonly keys: OwnKeys,
    private readonly changes: Changes,
  ) {}

  /** Answers a request for the keys, or below them. `below`: what follows their path. `asker` may throw a refusal. */
  async answer(exchange: Exchange, below: string, asker: () => Asker): Promise<Answer> {
    const { method } = exchange.incoming.head;
    if (below === "" || below === "/") {
      if (isLook(method)) return this.list(asker);
      return method === "POST" ? this.make(exchange, asker) : only("GET", "HEAD", "POST");
    }
    const [, id, rotate] = BELOW.exec(below) ?? [];
    if (id === undefined) return { kind: "problem", problem: NOTHING_HERE };
    if (rotate !== undefined) return method === "POST" ? this.rotate(exchange, asker, id) : only("POST");
    return method === "DELETE" ? this.revoke(exchange, asker, id) : only("DELETE");
  }

  /** Gives a key a new secret; `id`: the key's, or `null` for the one that is shown. */
  rotate(exchange: Exchange, asker: () => Asker, id: string | null): Promise<Answer> {
    return this.changes.answer(exchange, async () => {
      const { holder, credential } = asker();
      await readJson(exchange.incoming.body, NOTHING);
      const work = (): Outcome => ({ status: 200, value: rotated(this.keys.rotate(holder, id ?? holder.key ?? "")) });
      return { consumer: holder.consumer.id, credential, asked: {}, work };
    });
  }

  private list(asker: () => Asker): Promise<Answer> {
    return this.changes.look(() => this.keys.list(asker().holder));
  }

  private make(exchange: Exchange, asker: () => Asker): Promise<Answer> {
    return this.changes.answer(exchange, async () => {
      const { holder, credential } = asker();
      const asked = await readJson(exchange.incoming.body, WANTED);
      const work = (): Outcome => ({ status: 201, value: made(this.keys.make(holder, asked)) });
      return { consumer: holder.consumer.id, credential, asked, work };
    });
  }

  private revoke(exchange: Exchange, asker: () => Asker, id: string): Promise<Answer> {
    return this.changes.answer(exchange, async () => {
      const { holder, credential } = asker();
      const work = (): Outcome => {
        this.keys.revoke(holder, id);
        return { status: 204 };
      };
      return { consumer: holder.consumer.id, credential, asked: {}, work };
    });
  }
}

interface WithSecret {
  readonly record: KeyRecord;
  readonly secret: string;
}

const rotated = ({ record: { id, start, end, expiresAt, previousExpiresAt }, secret }: WithSecret) => ({
  ...{ id, key: secret, start, end, expiresAt, previousExpiresAt },
});

const made = ({ record: { id, name, start, end, scopes, routes, ips, models, expiresAt, createdAt, madeFrom }, secret }: WithSecret) => ({
  ...{ id, key: secret, start, end, name, scopes, routes, ips, models, expiresAt, createdAt, madeFrom },
});

export const NOTHING_HERE = problem("routeNotFound", "Nothing is here: keys are at /keys, /keys/ID and /keys/ID/rotate.");

/** Answers where a path does not take a method. */
export const only = (...methods: readonly string[]): { kind: "problem"; problem: Problem } => ({
  kind: "problem",
  problem: problem("methodNotAllowed", `This takes ${methods.join(", ")}.`, {}, [["Allow", methods.join(", ")]]),
});

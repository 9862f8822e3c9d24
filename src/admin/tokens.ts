import { timingSafeEqual } from "node:crypto";
import { type Static, Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import type { Audit } from "../audit/audit.ts";
import { Time, timeText } from "../http/conventions.ts";
import { notFound, refused } from "../http/refused.ts";
import { KINDS } from "../records/kinds.ts";
import { IDENTIFIER } from "../schema/fields.ts";
import { endSessionsOfToken } from "../sessions/sessions.ts";
import type { Storage } from "../storage/open.ts";
import type { Clock } from "../values/clock.ts";
import { hashKey, randomText } from "../values/key-format.ts";
import { ROLES, type Role } from "./rights.ts";

/** Describes one token as it is known while the gateway runs. */
export interface AdminToken {
  readonly id: string;
  readonly name: string;
  readonly role: Role;
  readonly hash: Buffer;
  readonly createdAt: number | null;
  /** What its sessions know it by: another token under the same id has another one. */
  readonly mark: string;
  lastUsedAt: number | null;
}

export interface TokensDeps {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly audit: Audit;
  /** Called when tokens were read anew: one may have been revoked. */
  readonly onLoad?: () => void;
  /** False where another process makes the first token. */
  readonly mayMake?: boolean;
}

/** The id of the token that is made at the first start; with SLUICE_ADMIN_TOKEN that one stands in its place. */
const FIRST = "first";

/** Tokens other than the first are made by whoever has used one. */
const EVER_USED = `SELECT 1 FROM admin_use UNION ALL SELECT 1 FROM admin_tokens WHERE last_used_at IS NOT NULL OR id <> '${FIRST}' LIMIT 1`;

interface Row {
  id: string;
  name: string;
  hash: string;
  role: Role;
  createdAt: number;
  lastUsedAt: number | null;
}

/**
 * Knows who may use the admin API: whoever shows the token of SLUICE_ADMIN_TOKEN (or, without one, the token made at the first start), or
 * one that the API made.
 */
export class AdminTokens {
  private tokens: AdminToken[] = [];
  private readonly used = new Set<AdminToken>();
  private hasBeenUsed = false;

  private constructor(
    private readonly deps: TokensDeps,
    private readonly given: string | undefined,
  ) {}

  /**
   * Reads the tokens, and makes the first one where there is none. `made`: that token, to be shown once, since only its hash is kept;
   * `null` when none was made now.
   */
  static open(deps: TokensDeps, given: string | undefined): { tokens: AdminTokens; made: string | null } {
    const tokens = new AdminTokens(deps, given);
    // Two processes that start together must not both make one.
    const made = (given === undefined || given === "") && deps.mayMake !== false ? makeFirst(deps) : null;
    tokens.load();
    return { tokens, made };
  }

  /**
   * Finds the token of this text; `null` when there is none. All hashes are compared, each in constant time: neither a token's length,
   * beginning nor place can be measured.
   */
  find(text: string): AdminToken | null {
    const shown = digest(text);
    let found: AdminToken | null = null;
    for (const token of this.tokens) if (timingSafeEqual(shown, token.hash)) found = token;
    return found;
  }

  /** Finds the token that a session was made with; `null` when there is none any more. */
  byMark(mark: string): AdminToken | null {
    return this.tokens.find((token) => token.mark === mark) ?? null;
  }

  /** Tells whether an Authorization field shows an admin token. */
  isShownIn(authorization: string | null): boolean {
    const text = bearerOf(authorization);
    return text !== null && this.find(text) !== null;
  }

  /** Tells whether anybody has ever used an admin token here, before a restart as well. */
  get wasEverUsed(): boolean {
    this.hasBeenUsed ||= this.deps.storage.client.query(EVER_USED).get() !== null;
    return this.hasBeenUsed;
  }

  /** Notes that a token was used; writes in batches. */
  touch(token: AdminToken): void {
    this.hasBeenUsed = true;
    token.lastUsedAt = this.deps.clock.wall();
    this.used.add(token);
  }

  /** Gives the ids of the tokens that were used since the last call, with the times (milliseconds since 1970): for the process that writes them. */
  takeUsed(): [id: string, at: number][] {
    const used = Array.from(this.used, ({ id, lastUsedAt }): [string, number] => [id, lastUsedAt ?? 0]);
    this.used.clear();
    return used;
  }

  /** Notes that another process has seen tokens used. */
  usedThere(used: readonly (readonly [id: string, at: number])[]): void {
    for (const [id, at] of used) {
      const token = this.tokens.find((each) => each.id === id);
      if (token === undefined || (token.lastUsedAt ?? 0) >= at) continue;
      token.lastUsedAt = at;
      this.used.add(token);
    }
  }

  flushUsed(): void {
    if (this.used.size === 0) return;
    const update = this.deps.storage.client.query("UPDATE admin_tokens SET last_used_at = ?1 WHERE id = ?2");
    for (const token of this.used) update.run(token.lastUsedAt, token.id);
    // The one of SLUICE_ADMIN_TOKEN has no row.
    this.deps.storage.client.query("INSERT OR IGNORE INTO admin_use (id, at) VALUES (1, ?1)").run(this.deps.clock.wall());
    this.used.clear();
  }

  all(): readonly AdminToken[] {
    return this.tokens;
  }

  create(name: string, role: Role): { token: AdminToken; text: string } {
    if (name === "system" || name === "guard" || this.tokens.some((token) => token.name === name))
      throw refused("conflict", `There is a token ${JSON.stringify(name)} already, or the name is the gateway's own: choose another.`);
    const text = makeToken();
    const row: Row = {
      id: `tok_${Bun.randomUUIDv7("hex").replaceAll("-", "")}`,
      name,
      hash: hashKey(text),
      role,
      createdAt: this.deps.clock.wall(),
      lastUsedAt: null,
    };
    this.deps.audit.change({ action: "token.create", subject: `token ${row.id}`, after: { name, role } }, () =>
      insert(this.deps.storage, row),
    );
    this.load();
    const token = this.tokens.find(({ id }) => id === row.id);
    if (token === undefined) throw new Error("no token was made");
    return { token, text };
  }

  revoke(id: string): void {
    const token = this.tokens.find((each) => each.id === id);
    if (token === undefined) throw notFound("token", id);
    if (token.createdAt === null) throw refused("conflict", "This token is given by SLUICE_ADMIN_TOKEN: change it there.");
    const admins = this.tokens.filter(({ role }) => role === "admin");
    if (token.role === "admin" && admins.length === 1)
      throw refused("conflict", "This is the last token with the role admin: make another first.");
    this.deps.audit.change({ action: "token.revoke", subject: `token ${id}`, before: { name: token.name, role: token.role } }, () => {
      this.deps.storage.client.query("DELETE FROM admin_tokens WHERE id = ?1").run(id);
      endSessionsOfToken(this.deps.storage, id);
    });
    this.load();
  }

  /** Reads the tokens from the database: at the start, and when they were changed. */
  load(): void {
    const { given } = this;
    const isGiven = given !== undefined && given !== "";
    const stored = rowsOf(this.deps.storage)
      .filter(({ id }) => !isGiven || id !== FIRST)
      .map((row) => ({ ...row, mark: row.id, hash: Buffer.from(row.hash, "hex") }));
    this.tokens = isGiven
      ? [{ id: "env", name: "env", role: "admin", mark: markOf(given), hash: digest(given), createdAt: null, lastUsedAt: null }, ...stored]
      : stored;
    this.deps.onLoad?.();
  }
}

/** Puts a new first token in the place of the one before, for whoever has lost it. Gives its text. */
export function resetFirst(deps: TokensDeps): string {
  const text = makeToken();
  deps.audit.change({ action: "token.reset", subject: `token ${FIRST}` }, () => {
    deps.storage.client.query("DELETE FROM admin_tokens WHERE id = ?1").run(FIRST);
    endSessionsOfToken(deps.storage, FIRST);
    insert(deps.storage, { id: FIRST, name: FIRST, hash: hashKey(text), role: "admin", createdAt: deps.clock.wall(), lastUsedAt: null });
  });
  return text;
}

/** Makes the first token when there is none. Gives its text; `null` when there was one. */
function makeFirst({ storage, clock }: TokensDeps): string | null {
  return storage.client
    .transaction(() => {
      if (storage.client.query("SELECT 1 FROM admin_tokens WHERE id = ?1").get(FIRST) !== null) return null;
      const text = makeToken();
      insert(storage, { id: FIRST, name: FIRST, hash: hashKey(text), role: "admin", createdAt: clock.wall(), lastUsedAt: null });
      return text;
    })
    .immediate();
}

const rowsOf = (storage: Storage): Row[] =>
  storage.client
    .query<Row, []>("SELECT id, name, hash, role, created_at AS createdAt, last_used_at AS lastUsedAt FROM admin_tokens ORDER BY id")
    .all();

function insert(storage: Storage, row: Row): void {
  storage.client
    .query("INSERT INTO admin_tokens (id, name, hash, role, created_at) VALUES (?1, ?2, ?3, ?4, ?5)")
    .run(row.id, row.name, row.hash, row.role, row.createdAt);
}

/** The beginning of each token that is made. */
const PREFIX = "slat_";

const makeToken = (): string => PREFIX + randomText(40);

/** Tells whether a text begins like the tokens that Sluice makes. */
export const isMadeToken = (text: string): boolean => text.startsWith(PREFIX);

/** Gives the token of `Authorization: Bearer TOKEN`; `null` for any other field. */
export const bearerOf = (authorization: string | null): string | null => /^bearer +(\S+) *$/i.exec(authorization ?? "")?.[1] ?? null;

/** Gives what tells one token of SLUICE_ADMIN_TOKEN from the next, of which nobody can tell the token. */
const markOf = (given: string): string => `env ${hashKey(`session ${hashKey(given)}`).slice(0, 16)}`;

const digest = (token: string): Buffer => Buffer.from(hashKey(token), "hex");

/** The schema of a role. */
export const RoleName = Type.Unsafe<Role>(
  Type.Union(
    ROLES.map((role) => Type.Literal(role)),
    { description: "viewer: looks. operator: health, blocks, breakers, cache, limits, logging and reload besides. admin: everything." },
  ),
);
const TokenRecord = Type.Object({
  id: Type.String({ description: "The token's id." }),
  name: Type.String({ description: "Who it is for: the actor's name in the audit." }),
  role: RoleName,
  createdAt: Time("When it was created; null for the one of SLUICE_ADMIN_TOKEN."),
  lastUsedAt: Time("When it was last used."),
});

const toJson = (token: AdminToken): Static<typeof TokenRecord> => ({
  id: token.id,
  name: token.name,
  role: token.role,
  createdAt: timeText(token.createdAt),
  lastUsedAt: timeText(token.lastUsedAt),
});

export const tokensAdmin = (tokens: AdminTokens) =>
  new Elysia({ prefix: `/${KINDS.token.path}`, tags: ["tokens"], normalize: false })
    .get("/", () => ({ items: tokens.all().map(toJson), nextCursor: null }), {
      response: Type.Object({
        items: Type.Array(TokenRecord, { description: "All of them." }),
        nextCursor: Type.Null({ description: "There is no other page." }),
      }),
      detail: { summary: "List admin tokens" },
    })
    .post(
      "/",
      ({ body, set }) => {
        const { token, text } = tokens.create(body.name, body.role);
        set.status = 201;
        set.headers.location = `/admin/tokens/${token.id}`;
        return { ...toJson(token), token: text };
      },
      {
        parse: "json",
        body: Type.Object(
          {
            name: Type.String({
              pattern: IDENTIFIER,
              expects: "1 to 128 letters, digits and . _ @ : -",
              description: "Who it is for: the actor's name in the audit.",
              examples: ["ci"],
            }),
            role: RoleName,
          },
          { additionalProperties: false },
        ),
        response: { 201: Type.Object({ ...TokenRecord.properties, token: Type.String({ description: "Shown here and nowhere else." }) }) },
        detail: { summary: "Create an admin token" },
      },
    )
    .delete(
      "/:id",
      ({ params, set }) => {
        tokens.revoke(params.id);
        set.status = 204;
      },
      { params: Type.Object({ id: Type.String({ description: "The token's id." }) }), detail: { summary: "Revoke an admin token" } },
    );

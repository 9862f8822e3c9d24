import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto";
import { eq, lt } from "drizzle-orm";
import { refused } from "../http/refused.ts";
import type { RedisLink } from "../redis/link.ts";
import type { Storage } from "../storage/open.ts";
import { idempotentAnswers } from "../storage/schema.ts";
import type { Clock } from "../values/clock.ts";
import { hashKey } from "../values/key-format.ts";

const DAY = 86_400_000;
const MAX_KEY = 255;

export interface KeptAnswer {
  readonly status: number;
  readonly headers: readonly (readonly [string, string])[];
  readonly body: string;
}

/** Holds what identifies one request that names itself by an Idempotency-Key. */
export interface Idempotent {
  readonly id: string;
  /** A hash of the request: the same key with another body is a mistake. */
  readonly request: string;
  readonly secret: Buffer;
}

/**
 * Keeps answers to POST requests for 24 hours, over restarts (draft-ietf-httpapi-idempotency-key-header). An answer may hold an API key,
 * which is stored nowhere in clear: it is encrypted (AES-256-GCM) under a key derived from the caller's admin token and Idempotency-Key,
 * neither of which is stored.
 */
export class IdempotentAnswers {
  private readonly working = new Map<string, Promise<unknown>>();

  constructor(
    private readonly storage: Storage,
    private readonly clock: Clock,
    /** Redis, where the same request may have come to another instance; `null`: there is none. */
    private readonly link: RedisLink | null = null,
  ) {}

  identify(key: string, token: string, method: string, path: string, body: string): Idempotent {
    if (key === "" || key.length > MAX_KEY) throw refused("badRequest", `Idempotency-Key must have 1 to ${MAX_KEY} characters.`);
    const secret = Buffer.from(hkdfSync("sha256", token, key, "sluice idempotent answer", 32));
    return { id: hashKey(`${hashKey(token)} ${key}`), request: hashKey(`${method} ${path}\n${body}`), secret };
  }

  /** Runs `work` when nothing else with this Idempotency-Key is at work. */
  async oneAtATime<T>(identified: Idempotent, work: () => Promise<T>): Promise<T> {
    for (let before = this.working.get(identified.id); before !== undefined; before = this.working.get(identified.id))
      await before.catch(() => {});
    const running = work();
    this.working.set(identified.id, running);
    try {
      return await running;
    } finally {
      this.working.delete(identified.id);
    }
  }

  /** Gives the answer that this request had before; `null` when it had none. Throws 422 when its key was used for another request. */
  async find(identified: Idempotent): Promise<KeptAnswer | null> {
    const own = this.storage.db.select().from(idempotentAnswers).where(eq(idempotentAnswers.id, identified.id)).get();
    const isGood = own !== undefined && own.createdAt > this.clock.wall() - DAY;
    const row = isGood ? own : await this.elsewhere(identified);
    if (row === null) return null;
    if (row.request !== identified.request)
      throw refused("validationFailed", "This Idempotency-Key was used for another request: take a new one.");
    return JSON.parse(open(row.answer, identified.secret)) as KeptAnswer;
  }

  private async elsewhere(identified: Idempotent): Promise<{ request: string; answer: string } | null> {
    const { link } = this;
    if (link === null || !link.isUp) return null;
    const text = await link.run((client) => client.get(this.keyOf(identified))).catch(() => null);
    return text === null ? null : (JSON.parse(text) as { request: string; answer: string });
  }

  private keyOf(identified: Idempotent): string {
    return `${this.link?.prefix}:answer:${identified.id}`;
  }

  async keep(identified: Idempotent, answer: KeptAnswer): Promise<void> {
    const createdAt = this.clock.wall();
    const row = { request: identified.request, answer: seal(JSON.stringify(answer), identified.secret), createdAt };
    this.storage.db.transaction(
      (tx) => {
        tx.delete(idempotentAnswers)
          .where(lt(idempotentAnswers.createdAt, createdAt - DAY))
          .run();
        tx.insert(idempotentAnswers)
          .values({ id: identified.id, ...row })
          .onConflictDoUpdate({ target: idempotentAnswers.id, set: row })
          .run();
      },
      { behavior: "immediate" },
    );
    const { link } = this;
    if (link?.isUp) await link.run((client) => client.set(this.keyOf(identified), JSON.stringify(row), "PX", DAY)).catch(() => {});
  }
}

function seal(text: string, secret: Buffer): string {
  const nonce = randomBytes(12);
  const cipher = createCipheriv("aes-256-gcm", secret, nonce);
  return Buffer.concat([nonce, cipher.update(text), cipher.final(), cipher.getAuthTag()]).toString("base64");
}

function open(sealed: string, secret: Buffer): string {
  const bytes = Buffer.from(sealed, "base64");
  const decipher = createDecipheriv("aes-256-gcm", secret, bytes.subarray(0, 12));
  decipher.setAuthTag(bytes.subarray(-16));
  return Buffer.concat([decipher.update(bytes.subarray(12, -16)), decipher.final()]).toString();
}

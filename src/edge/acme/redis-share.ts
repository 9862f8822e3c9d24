import { createHash } from "node:crypto";
import type { RedisClient, RedisLink } from "../../redis/link.ts";
import { type Held, heldOf, textOf } from "./held.ts";
import type { AcmeShare, HostWord, News } from "./share.ts";
import { type Account, authorityName } from "./store.ts";

export interface RedisShareDeps {
  readonly link: RedisLink;
  /** Tells this instance from the others. */
  readonly self: string;
  /** The URL of the authority's directory: each has keys of its own. */
  readonly directory: string;
  /** Seals private keys, and opens what another instance has sealed. `open` throws where it can't. */
  readonly seal: (text: string) => string;
  readonly open: (text: string) => string;
}

/** Milliseconds after which another instance orders, when the one that does is not heard of any more. */
const LEASE = 30_000;
/** Milliseconds for which a challenge can be answered. */
const PROOF_FOR = 3_600_000;
/** Milliseconds that Redis may take for what no request waits for. */
const PATIENCE = 5000;

/** Takes the lease, or takes it for longer, unless another instance has it. */
const LEAD = `
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1`;
const LEAVE = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0`;

/**
 * Joins instances by Redis. `PREFIX:acme:AUTHORITY:lease` names the one that orders; `…:heads` tells which certificate there is of each host, `…:certificate:HOST` holds
 * it with its key, sealed; `…:account` the account's; `…:words` how it stands. Every key is used alone, so that it may be anywhere in a cluster.
 */
export class RedisShare implements AcmeShare {
  private ledAt = Number.NEGATIVE_INFINITY;
  private said = "";

  constructor(private readonly deps: RedisShareDeps) {}

  get isOrderer(): boolean {
    return performance.now() - this.ledAt < LEASE;
  }

  async look(own: readonly Held[], words: ReadonlyMap<string, HostWord>): Promise<News> {
    const askedAt = performance.now();
    const leads = await this.run((client) => client.eval(LEAD, 1, this.key("lease"), this.deps.self, LEASE));
    this.ledAt = leads === 1 ? askedAt : Number.NEGATIVE_INFINITY;
    const heads = await this.run((client) => client.hgetall(this.key("heads")));
    const certificates: Held[] = [];
    const refused = new Map<string, string>();
    const ours = new Map(own.map((held) => [held.host, held]));
    for (const host of words.keys()) {
      const held = ours.get(host);
      const beginsAt = Number(heads[host]?.split(" ", 1)[0] ?? Number.NaN);
      if (held !== undefined && !(beginsAt >= held.beginsAt)) await this.publish(held);
      else if (beginsAt > (held?.beginsAt ?? Number.NEGATIVE_INFINITY)) {
        const theirs = await this.certificate(host);
        if (typeof theirs === "string") refused.set(host, theirs);
        else if (theirs !== null) certificates.push(theirs);
      }
    }
    return { certificates, refused, words: await this.exchangeWords(words) };
  }

  async show(token: string, answer: string): Promise<void> {
    await this.run((client) => client.set(this.proofKey(token), answer, "PX", PROOF_FOR));
  }

  async hide(token: string): Promise<void> {
    await this.run((client) => client.del(this.proofKey(token)));
  }

  async proof(token: string): Promise<string | null> {
    try {
      return await this.deps.link.run((client) => client.get(this.proofKey(token)));
    } catch {
      // Redis is away: nobody can say.
      return null;
    }
  }

  async account(own: Account): Promise<Account> {
    const sealed = await this.run(async (client) => {
      await client.set(this.key("account"), this.deps.seal(JSON.stringify(own)), "NX");
      return client.get(this.key("account"));
    });
    return sealed === null ? own : (JSON.parse(this.deps.open(sealed)) as Account);
  }

  async keepAccount(account: Account): Promise<void> {
    await this.run((client) => client.set(this.key("account"), this.deps.seal(JSON.stringify(account))));
  }

  async leave(): Promise<void> {
    if (!this.isOrderer) return;
    this.ledAt = Number.NEGATIVE_INFINITY;
    await this.run((client) => client.eval(LEAVE, 1, this.key("lease"), this.deps.self));
  }

  private async publish(held: Held): Promise<void> {
    await this.run((client) => client.set(this.key(`certificate:${held.host}`), this.deps.seal(textOf(held))));
    // After it: who reads of it finds it.
    await this.run((client) => client.hset(this.key("heads"), held.host, `${held.beginsAt} ${held.print}`));
  }

  /** Gives a host's certificate; a sentence: why it can't be taken. */
  private async certificate(host: string): Promise<Held | string | null> {
    const sealed = await this.run((client) => client.get(this.key(`certificate:${host}`)));
    if (sealed === null) return null;
    try {
      return heldOf(host, this.deps.open(sealed));
    } catch (error) {
      return `the certificate that another instance has ordered can't be used: ${error instanceof Error ? error.message : String(error)}`;
    }
  }

  /** Tells the others how it stands where this one orders; gives what the one says that does. */
  private async exchangeWords(words: ReadonlyMap<string, HostWord>): Promise<ReadonlyMap<string, HostWord>> {
    if (!this.isOrderer) {
      const text = await this.run((client) => client.get(this.key("words")));
      return new Map(Object.entries(JSON.parse(text ?? "{}") as Record<string, HostWord>));
    }
    const text = JSON.stringify(Object.fromEntries(words));
    if (text !== this.said) {
      await this.run((client) => client.set(this.key("words"), text));
      this.said = text;
    }
    return new Map();
  }

  private run<T>(work: (client: RedisClient) => Promise<T>): Promise<T> {
    return this.deps.link.runLong(work, PATIENCE);
  }

  private key(name: string): string {
    return `${this.deps.link.prefix}:acme:${authorityName(this.deps.directory)}:${name}`;
  }

  private proofKey(token: string): string {
    // Somebody else's words: of one length, and with no meaning for Redis.
    return this.key(`proof:${createHash("sha256").update(token).digest("hex")}`);
  }
}

import type { RedisClient, RedisLink } from "../../redis/link.ts";
import { REMEMBERED_FOR } from "./keys.ts";
import type { IdempotencyKey, PutResult } from "./queue.ts";

/** KEYS: of Redis, one for each batch. ARGV: the bodies' hashes. A hash with + behind it is of a batch that is in the queue. */
const CLAIM = `
local results = {}
for i = 1, #KEYS do
  local known = redis.call('GET', KEYS[i])
  if known == ARGV[i] .. '+' then results[i] = 'repeated'
  elseif known and known ~= ARGV[i] then results[i] = 'mismatch'
  else
    if not known then redis.call('SET', KEYS[i], ARGV[i], 'PX', ${REMEMBERED_FOR}) end
    results[i] = 'put'
  end
end
return results`;

const ACCEPTED = "for i = 1, #KEYS do redis.call('SET', KEYS[i], ARGV[i] .. '+', 'XX', 'KEEPTTL') end";

interface Scripts {
  sluiceKeysClaim(keys: number, ...args: string[]): Promise<PutResult[]>;
  sluiceKeysAccepted(keys: number, ...args: string[]): Promise<null>;
}

/**
 * Remembers for a day, for all instances that share Redis, which batch was sent under which Idempotency-Key. While Redis is away each
 * instance knows its own.
 */
export class SharedKeys {
  constructor(private readonly link: RedisLink) {
    link.client.defineCommand("sluiceKeysClaim", { lua: CLAIM });
    link.client.defineCommand("sluiceKeysAccepted", { lua: ACCEPTED });
  }

  /** Takes keys for bodies, unless they are taken. */
  async claim(keys: readonly IdempotencyKey[]): Promise<readonly PutResult[]> {
    if (keys.length === 0) return [];
    const results = await this.run((client) => client.sluiceKeysClaim(keys.length, ...this.argsOf(keys)));
    return results ?? keys.map(() => "put");
  }

  /** Notes that the batches under these keys are in the queue. */
  async accepted(keys: readonly IdempotencyKey[]): Promise<void> {
    if (keys.length > 0) await this.run((client) => client.sluiceKeysAccepted(keys.length, ...this.argsOf(keys)));
  }

  private argsOf(keys: readonly IdempotencyKey[]): string[] {
    return [...keys.map(({ key }) => `${this.link.prefix}:{activities}:key:${key}`), ...keys.map(({ body }) => body)];
  }

  private run<T>(work: (client: RedisClient & Scripts) => Promise<T>): Promise<T | null> {
    return this.link.run((client) => work(client as RedisClient & Scripts)).catch(() => null);
  }
}

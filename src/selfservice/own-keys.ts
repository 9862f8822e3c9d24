import { type Static, Type } from "@sinclair/typebox";
import type { Caller } from "../exchange/caller.ts";
import { passing } from "../http/problem.ts";
import { invalid, notFound, Refused, refused } from "../http/refused.ts";
import type { KeyRecord, Keys } from "../keys/keys.ts";
import { isOrigin } from "../keys/narrowed.ts";
import type { KeyEntry, KeyRegistry } from "../keys/registry.ts";
import { ModelNames, Scope } from "../schema/fields.ts";
import type { SelfServiceRules } from "../tiers/settings.ts";
import type { Clock } from "../values/clock.ts";
import { hashKey } from "../values/key-format.ts";
import { grantFrom } from "./grant.ts";

/** Milliseconds for which the secret before stays good: time to change over, and not for ever. */
const GRACE = 3_600_000;
/** The most keys that a consumer makes within a day: each leaves a record for good. */
const MAX_A_DAY = 20;
const DAY = 86_400_000;

/** What can stand on a terminal or in a line of a log without doing anything there: no control character, nor one that turns text round. */
const SHOWABLE = "^[^\\x00-\\x1f\\x7f-\\x9f\\u2028-\\u202e\\u2066-\\u2069]*$";

/** Describes the key that a caller wants. What is left out is what the key allows from which it is made. */
export const WantedKey = Type.Object(
  {
    name: Type.Optional(
      Type.String({
        maxLength: 256,
        pattern: SHOWABLE,
        expects: "a text without line breaks and other control characters",
        description: "A name for people.",
        examples: ["laptop"],
      }),
    ),
    scopes: Type.Optional(
      Type.Array(Scope, { maxItems: 64, description: "Its scopes; left out: all that the key from which it is made and your tier allow." }),
    ),
    routes: Type.Optional(
      Type.Array(Type.String({ maxLength: 1024 }), {
        maxItems: 256,
        description: "Names of the routes that it may use; left out: all that it may.",
      }),
    ),
    ips: Type.Optional(
      Type.Array(Type.String({ maxLength: 64 }), {
        maxItems: 256,
        description: "Addresses and blocks (CIDR) that it may be used from; left out: those of the key from which it is made.",
      }),
    ),
    models: Type.Optional(ModelNames("The models that it may call; left out: those of the key from which it is made.")),
    expiresAt: Type.Optional(
      Type.String({
        maxLength: 64,
        description: "From when on it is refused (RFC 3339); left out: when the key ends from which it is made.",
        shown: { format: "date-time" },
      }),
    ),
    from: Type.Optional(
      Type.String({
        maxLength: 128,
        description: "The id of the key from which it is made. With a key that is the one you show; leave it out.",
        examples: ["key_0199f3a81c3b7c3e9d5e1f2a3b4c5d6e"],
      }),
    ),
  },
  { additionalProperties: false, description: "A key that its holder creates." },
);
export type WantedKey = Static<typeof WantedKey>;

/** Says whose keys are looked at and changed. */
export interface Holder {
  readonly consumer: { readonly id: string; readonly tier: string };
  /** The id of the key that is shown; `null`: an operator's link has let the consumer in. */
  readonly key: string | null;
  /** The hash of the secret that is shown; `null` without a key. It may be the one before the key's last rotation. */
  readonly hash: string | null;
}

/** Gives the holder who shows a key by one of its secrets. Throws 403 for callers with another credential. */
export function holderOf({ via, id, consumer }: Caller, secret: string): Holder {
  if (via !== "key") throw refused("forbidden", "You call without a key of this gateway: whoever gave you your credential renews it.");
  return { consumer, key: id, hash: hashKey(secret) };
}

/** Holds a key as its holder sees it. */
export interface OwnKey
  extends Pick<
    KeyRecord,
    | "id"
    | "name"
    | "start"
    | "end"
    | "status"
    | "scopes"
    | "routes"
    | "ips"
    | "models"
    | "expiresAt"
    | "createdAt"
    | "lastUsedAt"
    | "previousExpiresAt"
    | "madeFrom"
  > {
  /** What its holder may do with it now. */
  readonly may: { readonly rotate: boolean; readonly revoke: boolean; readonly makeFrom: boolean };
}

/** Puts a key before those that were made from it, which follow it by their age. */
function byOrigin(a: OwnKey, b: OwnKey): number {
  const [first, second] = [a, b].map(({ id, madeFrom }) => `${madeFrom ?? id} ${madeFrom === null ? "" : id}`) as [string, string];
  return first < second ? -1 : 1;
}

export interface OwnKeysDeps {
  readonly keys: Keys;
  readonly registry: Pick<KeyRegistry, "byId" | "keysOf">;
  readonly clock: Clock;
  /** Gives what callers of a tier may do to their keys. */
  readonly rulesOf: (tier: string) => SelfServiceRules;
}

/**
 * Lets consumers see, make, rotate and revoke keys of their own. A key is made from one that an operator gave, and can never do more than
 * that. Who shows a key changes it and those made from it; who came by an operator's link changes all of the consumer's. Who shows the
 * secret before a rotation looks and changes nothing: often it was rotated since somebody else has that one.
 */
export class OwnKeys {
  constructor(private readonly deps: OwnKeysDeps) {}

  /** Gives the consumer's keys that are neither revoked nor over, each before those made from it, and what the tier allows. */
  list(holder: Holder): { items: OwnKey[]; allowed: SelfServiceRules } {
    const { keys, clock } = this.deps;
    const { consumer, key } = holder;
    const isCurrent = this.showsCurrent(holder);
    const rules = this.deps.rulesOf(consumer.tier);
    const now = clock.wall();
    const items = keys.standingOf(consumer.id).map((record): OwnKey => {
      const { id, name, start, end, status, scopes, routes, ips, models, expiresAt, createdAt, lastUsedAt } = record;
      const { previousExpiresAt, madeFrom } = record;
      const isInHand = isCurrent && (key === null || key === id || key === madeFrom);
      const rotatesAgain = previousExpiresAt === null || Date.parse(previousExpiresAt) <= now;
      const may = {
        rotate: rules.rotate && isInHand && record.source === "admin" && rotatesAgain,
        revoke: madeFrom !== null && isInHand && key !== id,
        makeFrom: rules.keys > 0 && madeFrom === null && status === "active" && isInHand,
      };
      return {
        ...{ id, name, start, end, status, scopes, routes, ips, models, expiresAt, createdAt, lastUsedAt, previousExpiresAt },
        ...{ madeFrom, may },
      };
    });
    const { rotate, keys: most, scopes, routes } = rules;
    return { items: items.sort(byOrigin), allowed: { rotate, keys: most, scopes, routes } };
  }

  /** Makes a key from one of the consumer's. Throws 403 and 409 where there is none to be made, 422 for a wish that can't be granted. */
  make(holder: Holder, { name, from, ...wish }: WantedKey): { record: KeyRecord; secret: string } {
    const { keys, clock } = this.deps;
    const { consumer } = holder;
    const rules = this.deps.rulesOf(consumer.tier);
    if (rules.keys === 0) throw refused("forbidden", "Callers of your tier make no keys: ask whoever runs the API for one.");
    this.checkSecret(holder);
    const now = clock.wall();
    const origin = this.originOf(holder, from, now);
    const { grant, faults } = grantFrom(origin, rules, wish, now);
    if (grant === null) throw invalid(faults);
    return keys.createOwn(
      { consumer: consumer.id, ...(name === undefined ? {} : { name }), ...grant },
      { madeFrom: origin.id, check: () => this.checkNumber(consumer.id, rules.keys, now) },
    );
  }

  /**
   * Gives a key a new secret; the old one stays good for an hour, but never past the key's end. Throws 403 where the tier or the key that is
   * shown does not allow it, 404 for a key that is not the consumer's, 409 for one that can't be rotated now.
   */
  rotate(holder: Holder, id: string): { record: KeyRecord; secret: string } {
    const { keys } = this.deps;
    const { madeFrom, previousExpiresAt } = this.own(holder, id);
    if (!this.deps.rulesOf(holder.consumer.tier).rotate)
      throw refused("forbidden", "Keys of your tier are not rotated by their holders: ask whoever runs the API.");
    if (holder.key !== null && holder.key !== id && holder.key !== madeFrom)
      throw refused("forbidden", "With the key that you show you can rotate that one, and those made from it.");
    // Who was about to rotate the very key is told when they can.
    if (holder.key !== id || previousExpiresAt === null) this.checkSecret(holder);
    return keys.rotateOwn(id, GRACE);
  }

  /** Revokes a key that its holder made. Throws 403 for one that an operator made, 404 for one that is not the consumer's. */
  revoke(holder: Holder, id: string): void {
    const { madeFrom } = this.own(holder, id);
    if (madeFrom === null)
      throw refused(
        "forbidden",
        "Whoever runs the API gave you this key, and only they take it back: rotate it, or ask them to revoke it.",
      );
    if (holder.key === id) throw refused("conflict", "This is the key that you show, and you would have none: revoke it by another one.");
    if (holder.key !== null && holder.key !== madeFrom)
      throw refused("forbidden", "With the key that you show you can revoke those made from it.");
    this.checkSecret(holder);
    this.deps.keys.revoke(id, null);
  }

  /** Tells whether a holder came by a link, or shows the secret that the key has now. A request may take until after a rotation to arrive. */
  private showsCurrent({ key, hash }: Holder): boolean {
    return key === null || this.deps.registry.byId(key)?.hash === hash;
  }

  /** Throws 403 where the secret that is shown is not the key's own any more. */
  private checkSecret(holder: Holder): void {
    if (!this.showsCurrent(holder))
      throw refused(
        "forbidden",
        "This key has a new secret, and the one before, which you show, changes no keys: show the new one, or ask whoever runs the API.",
      );
  }

  private own({ consumer }: Holder, id: string): KeyRecord {
    const { record } = this.deps.keys.get(id);
    if (record.consumer !== consumer.id) throw notFound("key", id);
    return record;
  }

  /** Gives the key from which another is made: the one that is shown, or that is named, or the only one that there is. */
  private originOf({ consumer, key }: Holder, from: string | undefined, now: number): KeyEntry {
    const { registry } = this.deps;
    if (key !== null) {
      const shown = registry.byId(key);
      if (shown === null || shown.off !== null) throw refused("keyRevoked", "This API key is revoked or disabled; ask for a new one.");
      if (shown.madeFrom !== null)
        throw refused(
          "forbidden",
          "The key that you show was made by its holder, and no other is made from it: show the one it was made from.",
        );
      if (from !== undefined && from !== key) throw invalid([{ path: ["from"], message: "must be the key that you show, or be left out" }]);
      return shown;
    }
    const good = registry.keysOf(consumer.id).filter((each) => isOrigin(each, now));
    const [first] = good;
    if (first === undefined) throw refused("conflict", "You have no key from which another could be made: ask whoever runs the API.");
    if (from === undefined) {
      if (good.length === 1) return first;
      throw invalid([{ path: ["from"], message: "is required: name the key from which the new one is made" }]);
    }
    const named = good.find(({ id }) => id === from);
    if (named === undefined) throw invalid([{ path: ["from"], message: "is none of your keys from which another can be made" }]);
    return named;
  }

  /** Throws 409 where a consumer has as many keys as its tier allows, and 429 where it has made too many of late. */
  private checkNumber(consumer: string, max: number, now: number): void {
    const { keys } = this.deps;
    const { length } = keys.standingOf(consumer);
    if (length >= max)
      throw refused(
        "conflict",
        `You have ${length} ${length === 1 ? "key" : "keys"}, and callers of your tier make another only while they have fewer than ${max}: revoke one that you made.`,
      );
    const made = keys.madeBy(consumer, now - DAY);
    const [first = now] = made.slice(-MAX_A_DAY);
    if (made.length >= MAX_A_DAY)
      throw new Refused(
        passing("rateLimited", `You have made ${MAX_A_DAY} keys within a day: try again later.`, Math.ceil((first + DAY - now) / 1000)),
      );
  }
}

import type { Policy } from "../policy.ts";

const PLAIN_SUBJECT = /^[\w.:[\]@/-]{1,96}$/;

/**
 * Gives the part of a key that stands for a subject: the subject itself, or a digest where it is long, or could be taken for something
 * else.
 */
const tagOf = (subject: string): string =>
  PLAIN_SUBJECT.test(subject) ? subject : `#${new Bun.CryptoHasher("sha256").update(subject).digest("hex").slice(0, 32)}`;

/** Gives the keys under which Redis keeps counts. On a cluster each subject has a slot, so that its keys stand together. */
export class LimitKeys {
  private readonly ids = new WeakMap<Policy, string>();

  constructor(private readonly prefix: string) {}

  of(policy: Policy, subject: string): string {
    let id = this.ids.get(policy);
    if (id === undefined) {
      id = new Bun.CryptoHasher("sha1").update(policy.id).digest("hex").slice(0, 16);
      this.ids.set(policy, id);
    }
    return `${this.prefix}:limit:{${tagOf(subject)}}:${id}`;
  }
}

/** Gives the part that a key shares with the keys of its slot, and with no others. */
export const slotOf = (key: string): string => key.slice(key.indexOf("{"), key.indexOf("}"));

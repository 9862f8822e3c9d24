import type { Policy } from "../policy.ts";

const PLAIN_SUBJECT = /^[\w.:[\]@/-]{1,96}$/;

/** What stands for a subject in a key: itself, or a digest where it is long, or could be taken for something else. */
const tagOf = (subject: string): string =>
  PLAIN_SUBJECT.test(subject) ? subject : `#${new Bun.CryptoHasher("sha256").update(subject).digest("hex").slice(0, 32)}`;

/** Gives the keys under which Redis keeps what is counted. On a cluster there is a slot for each subject: its keys stand together. */
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

/** Gives what a key has in common with those of its slot, and with no others. */
export const slotOf = (key: string): string => key.slice(key.indexOf("{"), key.indexOf("}"));

import { randomText } from "../../values/key-format.ts";

/** Milliseconds that a person has to look at a secret. */
const KEPT_FOR = 3_600_000;
/** The most secrets that wait; the oldest goes. An assistant that makes more at once is one that went astray. */
const MAX_KEPT = 100;

/** Holds a secret that an assistant had made, and nobody has seen yet. */
export interface UnseenSecret {
  readonly secret: string;
  /** What it is: the field of the answer that held it, such as "key". */
  readonly what: string;
  /** The record that it belongs to, as the audit names it, such as "key key_0199f3a8". */
  readonly subject: string;
}

interface Kept {
  readonly secret: UnseenSecret;
  /** The time when it goes, in milliseconds since 1970. */
  readonly until: number;
}

/** Keeps secrets that assistants had made until a person has seen them: in memory alone, for an hour, each for one look. */
export class UnseenSecrets {
  private readonly kept = new Map<string, Kept>();

  /** `wall` gives the time, in milliseconds since 1970. */
  constructor(private readonly wall: () => number) {}

  /** Keeps a secret, and gives the id by which it is taken. */
  keep(secret: UnseenSecret): string {
    this.drop();
    const [oldest] = this.kept.keys();
    if (oldest !== undefined && this.kept.size >= MAX_KEPT) this.kept.delete(oldest);
    const id = randomText(24);
    this.kept.set(id, { secret, until: this.wall() + KEPT_FOR });
    return id;
  }

  /** Gives a secret, which is gone after that; `null`: there is none, or not any more. */
  take(id: string): UnseenSecret | null {
    this.drop();
    const found = this.kept.get(id);
    this.kept.delete(id);
    return found?.secret ?? null;
  }

  /** Drops those whose time is over: all are kept for the same time, so that they stand in the order in which they go. */
  private drop(): void {
    const now = this.wall();
    for (const [id, { until }] of this.kept) {
      if (until > now) break;
      this.kept.delete(id);
    }
  }
}

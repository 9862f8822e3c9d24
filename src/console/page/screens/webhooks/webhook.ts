/** A webhook of `GET /admin/webhooks`. */
export interface Webhook {
  readonly name: string;
  readonly url: string;
  /** Masked. */
  readonly secret: string;
  readonly events: readonly string[];
  readonly enabled: boolean;
  readonly source: "config" | "admin";
  readonly createdAt: string | null;
  readonly updatedAt: string | null;
  readonly state: {
    readonly waiting: number;
    readonly oldest: string | null;
    readonly isGone: boolean;
  };
}

/** What a receiver has answered; `status` is `null` where it has not. */
export interface Answered {
  readonly status: number | null;
  readonly answer: string | null;
  readonly error: string | null;
}

/** A row of `GET /admin/webhooks/:id/deliveries`. */
export interface Delivery extends Answered {
  readonly id: string;
  readonly type: string;
  readonly state: "waiting" | "delivered" | "failed";
  readonly tries: number;
  readonly createdAt: string;
  readonly triedAt: string | null;
  readonly nextAt: string | null;
  readonly endedAt: string | null;
  readonly body: unknown;
}

/** What stands for all events, also those of later versions. */
export const ALL = "*";

/** The events and what each means, as the gateway describes them. A test holds them against its own. */
export const EVENTS: Readonly<Record<string, string>> = {
  "key.expiring": "A key expires within seven days, and again: within one day.",
  "key.created": "A key was created or imported.",
  "key.revoked": "A key was revoked, or deleted with its consumer.",
  "key.rotated": "A key has another secret.",
  "quota.80": "80 % of a quota are used.",
  "quota.100": "A quota is used up.",
  "pool.empty": "No key of a pool has enough left for a request.",
  "breaker.opened": "A circuit breaker has cut a target off.",
  "breaker.closed": "A target gets requests again.",
  "target.down": "Health checks have found a target down.",
  "health.changed": "The system's status has changed.",
  "block.made": "An address is blocked.",
  "config.refused": "A changed configuration has faults: the one before it stays in force.",
  "certificate.failing": "A certificate can't be read, ordered or renewed.",
  "certificate.renewed": "Another certificate is served.",
  "sink.lagging": "A sink of activities is more than ten minutes behind.",
};

/** Says which events a webhook gets. */
export const eventsOf = ({ events }: Pick<Webhook, "events">): string =>
  events.includes(ALL) ? "all" : events.length <= 3 ? events.join(", ") : `${events.slice(0, 2).join(", ")} and ${events.length - 2} more`;

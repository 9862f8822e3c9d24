import type { AdminTokens } from "../admin/tokens.ts";
import type { Audit } from "../audit/audit.ts";
import type { Exchange } from "../exchange/exchange.ts";
import { refused } from "../http/refused.ts";
import type { ConsumerEntry, KeyRegistry } from "../keys/registry.ts";
import type { Session, Sessions } from "../sessions/sessions.ts";
import { actorOf } from "./changes.ts";

/** Milliseconds that a consumer is let in after a link was opened. */
export const LET_IN_FOR = 12 * 3_600_000;

export interface LinksDeps {
  readonly sessions: Sessions;
  readonly audit: Audit;
  readonly registry: Pick<KeyRegistry, "consumer">;
  readonly tokens: Pick<AdminTokens, "byMark">;
  /** Says why there is no page for consumers to lead to; `null`: there is one. */
  readonly whyNot: () => string | null;
}

/** Holds what lets a consumer in, and until when (milliseconds since 1970). */
export interface LetIn {
  readonly consumer: ConsumerEntry;
  readonly expiresAt: number;
}

/** Makes the links by which consumers are let in to their page, and knows again who was. */
export class Links {
  constructor(private readonly deps: LinksDeps) {}

  /**
   * Makes a link for a consumer, which works once and for `ttl` milliseconds. Gives its path, with the secret in the fragment, which
   * browsers send to nobody. `token` names the admin token of who makes it. Throws 404 for an unknown consumer, 409 where the link would lead nowhere.
   */
  make(consumer: string, ttl: number, token: string | null): { path: string; expiresAt: number } {
    const { sessions, audit, registry, whyNot } = this.deps;
    const known = registry.consumer(consumer);
    if (known === undefined) throw refused("notFound", `There is no consumer ${JSON.stringify(consumer)}.`);
    if (!known.enabled) throw refused("conflict", "The consumer is disabled: enable it first.");
    const why = whyNot();
    if (why !== null) throw refused("conflict", why);
    const { id, expiresAt } = audit.change(
      { action: "consumer.link", subject: `consumer ${consumer}`, after: { minutes: ttl / 60_000 } },
      () => sessions.make({ use: "myLink", token, actor: null, role: null, consumer, ttl }),
    );
    return { path: `/my#link=${id}`, expiresAt };
  }

  /** Tells whether there is such a link, as far as this instance knows. Nothing is changed. */
  isThere(link: string): boolean {
    return this.deps.sessions.find(link, "myLink") !== null;
  }

  /** Takes a link and lets its consumer in. Gives the secret that is shown from then on; `null`: the link works no more. */
  open(link: string, { ip, id: requestId }: Pick<Exchange, "ip" | "id">): (LetIn & { readonly id: string }) | null {
    const { sessions, audit } = this.deps;
    const taken = sessions.takeLink(link, "myLink");
    const consumer = this.consumerOf(taken);
    if (taken === null || consumer === null) return null;
    const begun = { action: "session.begin", subject: "self-service", after: { by: "link" } };
    const { id, expiresAt } = audit.as(actorOf(consumer.id, ip, requestId), () =>
      audit.change(begun, () =>
        sessions.make({ use: "my", token: taken.token, actor: null, role: null, consumer: consumer.id, ttl: LET_IN_FOR }),
      ),
    );
    return { id, consumer, expiresAt };
  }

  /** Gives the consumer who was let in and shows this; `null`: nobody is. */
  find(id: string): LetIn | null {
    const session = this.deps.sessions.find(id, "my");
    const consumer = this.consumerOf(session);
    return session === null || consumer === null ? null : { consumer, expiresAt: session.expiresAt };
  }

  /** Ends what `open` has begun. */
  close(id: string): void {
    const { sessions, audit } = this.deps;
    audit.change({ action: "session.end", subject: "self-service" }, () => sessions.end(id));
  }

  /** Gives whom a session lets in; `null`: the consumer is gone or disabled, or the admin token that the link was made with is gone. */
  private consumerOf(session: Session | null): ConsumerEntry | null {
    const { registry, tokens } = this.deps;
    if (session === null || session.consumer === null) return null;
    // Of one in SLUICE_ADMIN_TOKEN nobody is told that it was changed: its sessions are still there.
    if (session.token !== null && tokens.byMark(session.token) === null) return null;
    const consumer = registry.consumer(session.consumer);
    return consumer?.enabled === true ? consumer : null;
  }
}

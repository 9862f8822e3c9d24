import type { Actor, AuditedChange } from "../audit/audit.ts";
import type { Trigger } from "../config/live.ts";
import type { Block } from "../guard/guard.ts";
import type { HealthState, Origin } from "../health/health.ts";
import type { Warning } from "../health/warnings.ts";
import type { UpstreamFailure } from "../http/client.ts";
import type { CutOffCause } from "../http/h2/frame-watch.ts";
import type { AttemptResult } from "../models/made-attempt.ts";
import type { Lease, NearlySpent } from "../pools/pool.ts";
import type { Fault } from "../schema/faults.ts";
import type { Unwritable } from "../storage/writability.ts";
import type { BreakerCause, BreakerState } from "../upstreams/breaker.ts";
import type { GrpcOutcome, Target } from "../upstreams/upstream.ts";

/** Says what happens in the gateway besides requests: its parts emit it, and whoever has to do something about it subscribes. */
export type Occurrence =
  /** A warning has come, or is over. */
  | { readonly type: "warning"; readonly warning: Warning; readonly isRaised: boolean }
  /** The database can't be written any more, or for another reason, or again (`null`). */
  | { readonly type: "storage"; readonly state: Unwritable | null }
  /** A scheduled backup was made. */
  | { readonly type: "backup"; readonly file: string; readonly bytes: number }
  /** A scheduled backup could not be made, and why; `null` when one could be again. */
  | { readonly type: "backupTrouble"; readonly why: string | null }
  /** Something was done, and is written in the audit. */
  | { readonly type: "change"; readonly change: AuditedChange; readonly actor: Actor }
  /** An address is blocked. `origin`: where that was decided. */
  | { readonly type: "block"; readonly block: Block; readonly origin: Origin }
  /** A connection of HTTP/2 was cut off, the first of its address for a while. */
  | { readonly type: "cutOff"; readonly cause: CutOffCause; readonly ip: string }
  /** A private or loopback peer that `server.trustedProxies` does not name says for whom it asks. */
  | { readonly type: "unnamedProxy"; readonly peer: string }
  /** Connections of a balancer that `server.proxyProtocol` names come without a PROXY line, or with it again. */
  | { readonly type: "proxyLine"; readonly peer: string; readonly isMissing: boolean }
  /** A proxy has asked about a request and not told the caller's address. */
  | { readonly type: "unknownAddress" }
  /** The system's status has changed. */
  | { readonly type: "health"; readonly before: HealthState; readonly after: HealthState; readonly origin: Origin }
  /** Redis is there, or lost. `isFirst`: so it is found at the start. */
  | { readonly type: "redis"; readonly isUp: boolean; readonly why: string | null; readonly isFirst: boolean }
  /** Counts that this instance made alone have to be given back to Redis. */
  | { readonly type: "owing" }
  /** Records were compared with those of Redis after they had gone apart. */
  | { readonly type: "recordsCompared"; readonly epoch: string; readonly published: number; readonly taken: number }
  /** Records that routing, pools, issuers or webhooks are made of were changed, by whomever; `all`: another configuration came into force. */
  | { readonly type: "records"; readonly of: "routes" | "pools" | "issuers" | "webhooks" | "all" }
  /** A key of a pool was asked for. */
  | {
      readonly type: "lease";
      readonly pool: string;
      readonly user: string;
      readonly kind: "handedOut" | "injected";
      readonly lease: Lease;
    }
  /** A key of a pool rests, is quarantined, or is back. `until` as of `clock.now()`. */
  | {
      readonly type: "poolKey";
      readonly pool: string;
      readonly key: string;
      readonly change: "rests" | "quarantined" | "back";
      readonly status: number;
      readonly until: number;
    }
  /** A request was settled with a key of a pool that has spent four fifths of a budget in money, or more of it. */
  | ({ readonly type: "poolSpent"; readonly pool: string; readonly key: string } & NearlySpent)
  /** A circuit breaker's state has changed, or a person has taken it over. */
  | {
      readonly type: "breaker";
      readonly upstream: string;
      readonly target: Target;
      readonly from: BreakerState;
      readonly to: BreakerState;
      readonly cause: BreakerCause;
    }
  /** Health checks have found a target up or down. */
  | {
      readonly type: "target";
      readonly upstream: string;
      readonly target: Target;
      readonly isHealthy: boolean;
      readonly why: string;
      readonly origin: Origin;
    }
  /** A health check that was made here says something new of a target. `began`: when the check began, if it passed; otherwise `null`. */
  | { readonly type: "checked"; readonly upstream: string; readonly target: Target; readonly began: number | null; readonly why: string }
  /** An attempt at a target failed: by its answer's status, that of a call of gRPC, or without one. */
  | {
      readonly type: "attemptFailed";
      readonly requestId: string;
      readonly upstream: string;
      readonly target: Target;
      readonly attempt: number;
      readonly why: number | GrpcOutcome | UpstreamFailure;
    }
  /** An attempt of a virtual model has given an answer, or none. */
  | ({ readonly type: "modelAttempt" } & AttemptResult)
  /**
   * A service that a route asks whether requests may pass does not decide, and why; or it does again (`null`). `isDenied`: requests are
   * refused meanwhile.
   */
  | {
      readonly type: "authorize";
      readonly route: string;
      readonly service: string;
      readonly isDenied: boolean;
      readonly why: string | null;
    }
  /** A model without a price was called on a route. `isNews`: nobody was told of that model for a while. `isFree`: it counts as free. */
  | { readonly type: "unpriced"; readonly route: string; readonly model: string; readonly isNews: boolean; readonly isFree: boolean }
  /** A backend's connection has brought bytes that nobody asked for. */
  | { readonly type: "unasked"; readonly target: string }
  /** A backend's name can't be looked up, so that its last address is used; or can be again (`error` is `null`). */
  | { readonly type: "lookUp"; readonly target: string; readonly address: string; readonly error: string | null }
  /** Descriptors for connections to backends are wanting, or there are some again. */
  | { readonly type: "shortage"; readonly isShort: boolean }
  /** An issuer of tokens gives no answer, and why; or does again (`null`). */
  | { readonly type: "issuer"; readonly issuer: string; readonly why: string | null }
  /** An authority has given a certificate. Times are milliseconds since 1970. */
  | { readonly type: "certificateOrdered"; readonly host: string; readonly endsAt: number; readonly renewsAt: number }
  /** The collector of traces takes none, or takes them again. */
  | { readonly type: "collector"; readonly endpoint: string; readonly isUp: boolean; readonly why: string }
  /** A plug-in's hook has thrown, taken too long, or given what means nothing. `skips`: the request goes on without it. */
  | {
      readonly type: "pluginFailed";
      readonly plugin: string;
      readonly hook: string;
      readonly kind: string;
      readonly error: string;
      readonly requestId: string;
      readonly skips: boolean;
    }
  /** A plug-in's hook has kept everything else waiting, for so many milliseconds: it gave back control only then. */
  | {
      readonly type: "pluginHeldUp";
      readonly plugin: string;
      readonly hook: string;
      readonly milliseconds: number;
      readonly requestId: string;
    }
  /**
   * A certificate can't be read, ordered or renewed, and why; `null`: it is well again. `name`: its file, or the host that it is ordered for. `nextAt`: when
   * it is tried again, in milliseconds since 1970; `null`: as soon as something changes.
   */
  | { readonly type: "certificateFailing"; readonly name: string; readonly why: string | null; readonly nextAt: number | null }
  /** A file holds another certificate, which is served from here on. `endsAt`: milliseconds since 1970. */
  | { readonly type: "certificateReplaced"; readonly place: string; readonly names: readonly string[]; readonly endsAt: number }
  /** Revocation lists of clients' certificates should have been followed by newer ones; `why`: which, or `null` where none is old any more. */
  | { readonly type: "revocationLists"; readonly why: string | null }
  /** Activities can't be taken in (`sink`: `null`), or applied to a sink, for now. */
  | { readonly type: "activitiesTrouble"; readonly sink: string | null; readonly message: string; readonly attempts: number }
  /** Activities are taken in again (`sink`: `null`), or applied to a sink. */
  | { readonly type: "activitiesFine"; readonly sink: string | null }
  /** Something is wrong with a sink, or with what the queue holds (`null`), that keeps no other activity from taking effect. */
  | { readonly type: "activitiesNotice"; readonly sink: string | null; readonly message: string }
  /** The activities' database has reached its greatest size, or has room again. */
  | { readonly type: "activitiesFull"; readonly isFull: boolean }
  /** A webhook's receiver does not take events, and why; or does again (`null`). */
  | { readonly type: "webhookAway"; readonly webhook: string; readonly why: string | null }
  /** An event could not be delivered to a webhook, and is not tried again. `id`: of the delivery. */
  | {
      readonly type: "webhookFailed";
      readonly webhook: string;
      readonly id: string;
      readonly event: string;
      readonly tries: number;
      readonly why: string;
    }
  /** A receiver wants no more events (410): nothing is sent to it any more; or it is again (`isGone` is false). */
  | { readonly type: "webhookGone"; readonly webhook: string; readonly isGone: boolean }
  /** As many events wait for a webhook as are kept, so that the oldest go; or there is room again. */
  | { readonly type: "webhookFull"; readonly webhook: string; readonly isFull: boolean }
  /** The configuration was read again: it is in force where there are no faults. */
  | { readonly type: "reload"; readonly trigger: Trigger; readonly faults: readonly Fault[] }
  /** A configuration that has come into force has settings that are hardly meant. */
  | { readonly type: "configurationWarnings"; readonly warnings: readonly Fault[] };

export type OccurrenceOf<T extends Occurrence["type"]> = Extract<Occurrence, { readonly type: T }>;

/** Tells what has happened to whoever has subscribed. */
export type Emit = (occurrence: Occurrence) => void;

/** Says what somebody does about occurrences, by their type. */
export type Subscriber = { readonly [T in Occurrence["type"]]?: (occurrence: OccurrenceOf<T>) => void };

/**
 * Passes on what happens, in the order in which there was subscribed.
 *
 * @example
 * const occurrences = new Occurrences();
 * occurrences.subscribe({ block: ({ block }) => console.log(block.cidr) });
 * occurrences.emit({ type: "block", block });
 */
export class Occurrences {
  private readonly subscribers = new Map<Occurrence["type"], ((occurrence: Occurrence) => void)[]>();

  readonly emit: Emit = (occurrence) => {
    for (const act of this.subscribers.get(occurrence.type) ?? []) act(occurrence);
  };

  subscribe(subscriber: Subscriber): void {
    for (const [type, act] of Object.entries(subscriber) as [Occurrence["type"], (occurrence: Occurrence) => void][]) {
      const acts = this.subscribers.get(type);
      if (acts === undefined) this.subscribers.set(type, [act]);
      else acts.push(act);
    }
  }
}

import { Problem } from "../api.ts";
import type { Unit } from "../format.ts";

/** Says how it stands with a limit or quota. */
export interface Left {
  readonly name: string;
  readonly scope: string;
  readonly unit: Unit;
  readonly limit: number;
  readonly remaining: number;
  readonly reset: string | null;
  /** The id of the key that it is about; left out: the consumer. */
  readonly key?: string;
}

export interface UsageOfDay {
  /** When the day begins, in UTC. */
  readonly time: string;
  readonly requests: number;
  readonly errors: number;
  readonly limited: number;
  readonly tokens: number;
  /** Dollars. */
  readonly cost: number;
}

/** Says where the consumer stands, and until when this browser is let in. */
export interface Standing {
  readonly consumer: string;
  readonly tier: string;
  readonly limits: readonly Left[];
  readonly quotas: readonly Left[];
  readonly usage: readonly UsageOfDay[];
  readonly until: string;
}

export interface OwnKey {
  readonly id: string;
  readonly name: string | null;
  readonly start: string;
  readonly end: string;
  readonly status: "active" | "disabled";
  readonly scopes: readonly string[];
  readonly routes: readonly string[];
  readonly ips: readonly string[];
  readonly models: readonly string[];
  readonly expiresAt: string | null;
  readonly createdAt: string | null;
  readonly lastUsedAt: string | null;
  readonly previousExpiresAt: string | null;
  readonly madeFrom: string | null;
  readonly may: { readonly rotate: boolean; readonly revoke: boolean; readonly makeFrom: boolean };
}

export interface OwnKeys {
  readonly items: readonly OwnKey[];
  readonly allowed: {
    readonly rotate: boolean;
    readonly keys: number;
    readonly scopes: readonly string[];
    readonly routes: readonly string[];
  };
}

/** Holds a key with its secret, which no other answer has. */
export interface NewSecret {
  readonly id: string;
  readonly key: string;
  readonly previousExpiresAt?: string | null;
}

/**
 * Asks what stands below `/my/`. A change is safe to repeat. Rejects with a `Problem`: one with status 401 where nobody is let in.
 *
 * @example
 * const { items } = await ask<OwnKeys>("GET", "api/me/keys");
 */
export async function ask<T>(method: "GET" | "POST" | "DELETE", path: string, body?: object): Promise<T> {
  const response = await fetch(`/my/${path}`, {
    method,
    credentials: "same-origin",
    cache: "no-store",
    redirect: "error",
    headers: {
      ...(body === undefined ? {} : { "Content-Type": "application/json" }),
      // No other site's page can set this field, so that it can't act in the name of who is let in.
      ...(method === "GET" ? {} : { "X-Sluice-Console": "1" }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  }).catch((error: unknown) => {
    const why = error instanceof Error ? error.message : String(error);
    throw new Problem(0, { code: "unreachable", detail: `The gateway does not answer (${why}).` });
  });
  const value: unknown = await response.json().catch(() => null);
  if (!response.ok) throw new Problem(response.status, typeof value === "object" && value !== null ? { ...value } : {});
  // The API's document says what each path answers with; nothing here could check it.
  return value as T;
}

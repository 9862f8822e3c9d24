import type { Via } from "../exchange/caller.ts";
import type { JudgedCertificate } from "./client-certificate.ts";

/**
 * The field by which a worker tells the keeper of whom a request is that it passes on. It means something on the keeper's own socket alone, which nobody but
 * the gateway's processes can reach; a caller's field of this name is not passed on.
 */
export const RELAY_FIELD = "sluice-relay";

/** What a worker says of a request that it passes on. */
export interface Relay {
  /** The peer's address. */
  readonly ip: string;
  readonly isTls: boolean;
  /** True where a balancer's PROXY line has said it; left out: none has. */
  readonly hasProxyLine?: boolean;
  /** True where it came to the admin API's own listener; left out: it came to the main port. */
  readonly isAdmin?: boolean;
  /** What became of the certificate that the caller's connection has shown; left out: none was. */
  readonly certificate?: JudgedCertificate;
  /** Who calls, where the worker has found that out and admitted the request; left out: that is still to be done. */
  readonly caller?: {
    readonly via: Via;
    readonly id: string;
    readonly consumer: string;
    readonly tier: string;
  };
}

/** Writes the line of a request's head. */
export const relayLine = (relay: Relay): string => `${RELAY_FIELD}: ${encodeURIComponent(JSON.stringify(relay))}\r\n`;

/** Reads the field's value; `null` where it is none of ours. */
export function relayIn(text: string | null): Relay | null {
  if (text === null) return null;
  try {
    return JSON.parse(decodeURIComponent(text)) as Relay;
  } catch {
    return null;
  }
}

import type { TlsInForce } from "./certificates.ts";

export const NOTHING_SERVED: TlsInForce = { certificates: [], clients: null };

/** Holds what this process serves TLS with, and tells those who follow of each change. */
export class HeldTls {
  private readonly followers: ((inForce: TlsInForce) => void)[] = [];

  constructor(private held: TlsInForce) {}

  get current(): TlsInForce {
    return this.held;
  }

  /** Calls `follower` after each change, until the gateway is closed. */
  follow(follower: (inForce: TlsInForce) => void): void {
    this.followers.push(follower);
  }

  /** Puts something in force. False, with nobody told, where it is the same. */
  put(next: TlsInForce): boolean {
    if (Bun.deepEquals(this.held, next)) return false;
    this.held = next;
    for (const follower of this.followers) follower(next);
    return true;
  }
}

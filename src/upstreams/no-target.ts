import type { Unavailable } from "./upstream.ts";

/** Tells that no target can take the request now. */
export class NoTarget extends Error {
  constructor(readonly why: Unavailable) {
    super("no target is available");
  }
}

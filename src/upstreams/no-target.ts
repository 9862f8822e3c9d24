import type { Unavailable } from "./upstream.ts";

/** No target can take the request now. */
export class NoTarget extends Error {
  constructor(readonly why: Unavailable) {
    super("no target is available");
  }
}

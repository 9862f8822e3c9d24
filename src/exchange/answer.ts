import type { UpstreamResponse } from "../http/client.ts";
import type { Problem } from "../http/problem.ts";
import type { Reply } from "../http/server.ts";

/** Says what becomes of a request. Only `finish` writes it. */
export type Answer =
  /** The request is refused. */
  | { readonly kind: "problem"; readonly problem: Problem }
  /** Sluice answers by itself, or from its cache. */
  | { readonly kind: "reply"; readonly reply: Reply }
  /** A backend answers; with a tunnel, where the connection has left HTTP. */
  | { readonly kind: "forwarded"; readonly response: UpstreamResponse }
  /** The caller has left while Sluice waited for somebody: there is nobody to answer. */
  | { readonly kind: "gone" };

export const GONE: Answer = { kind: "gone" };

import type { UpstreamResponse } from "../http/client.ts";
import type { Problem } from "../http/problem.ts";
import type { Reply } from "../http/server.ts";

/** What becomes of a request. Only `finish` writes it. */
export type Answer =
  /** It is refused. */
  | { readonly kind: "problem"; readonly problem: Problem }
  /** Sluice answers by itself, or from what it has kept. */
  | { readonly kind: "reply"; readonly reply: Reply }
  /** A backend answers; with a tunnel, where it has left HTTP. */
  | { readonly kind: "forwarded"; readonly response: UpstreamResponse }
  /** The caller has left while somebody was waited for: there is nobody to answer. */
  | { readonly kind: "gone" };

export const GONE: Answer = { kind: "gone" };

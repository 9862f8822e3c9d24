import type { Arrival } from "../exchange/exchange.ts";
import type { Relay } from "./relay.ts";
import type { HttpServer, Reply, Tunnel, TunnelEnd } from "./server.ts";

/** Holds one request that has arrived at one of our listeners, by whatever version of HTTP, and answers it. */
export interface Incoming extends Arrival {
  readonly connection: { readonly server: HttpServer };
  /** What a worker says of a request that it passes on; `null`: it has come here by itself. */
  readonly relay: Relay | null;
  isAborted: boolean;
  readonly isReplied: boolean;
  /** Learns that nothing more will happen: the answer is written whole, or broke off, or the tunnel is closed; called once. */
  onEnd: (() => void) | null;
  /** Writes the answer, once; what comes after it, or after the client has left, is dropped. */
  reply(reply: Reply): void;
  interim(status: number, reason: string, head: string): void;
  /** Answers 101 and leaves HTTP: from here on the client's bytes go to `tunnel`. Gives the client's end of it. */
  upgrade(head: string, tunnel: Tunnel): TunnelEnd;
}

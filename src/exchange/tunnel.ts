import type { UpstreamResponse, UpstreamTunnel } from "../http/client.ts";
import type { Tunnel } from "../http/server.ts";
import { BoundedWebSocket } from "../http/websocket/bounded.ts";
import type { Exchange } from "./exchange.ts";

/** Joins the two connections that have left HTTP. `head`: our answer's header lines. */
export function enterTunnel(exchange: Exchange, response: UpstreamResponse, tunnel: UpstreamTunnel, head: string): void {
  const { incoming } = exchange;
  if (incoming.isAborted) {
    tunnel.close();
    return;
  }
  const protocol = response.fields.get("upgrade") ?? "websocket";
  const bounded = boundedOf(exchange, tunnel);
  const toBackend: Tunnel = bounded?.fromClient ?? {
    write: (bytes) => tunnel.write(bytes),
    resume: () => tunnel.resume(),
    close: () => tunnel.close(),
  };
  const client = incoming.upgrade(
    `HTTP/1.1 101 ${response.reason}\r\n${head}Connection: Upgrade\r\nUpgrade: ${protocol}\r\n\r\n`,
    toBackend,
  );
  tunnel.start(
    bounded?.join(client) ?? { write: (bytes) => client.write(bytes), drained: () => client.resume(), close: () => client.close() },
  );
}

/** Gives what bounds the messages of a caller where the route does; `null` where it does not. */
function boundedOf({ notes, route }: Exchange, tunnel: UpstreamTunnel): BoundedWebSocket | null {
  if (route.websocket === null) return null;
  return new BoundedWebSocket(
    route.websocket,
    tunnel,
    () => performance.now(),
    ({ code, reason }) => {
      notes.trouble = `the WebSocket was closed with ${code}: ${reason}`;
      route.metrics.closedWebSocket(code);
    },
  );
}

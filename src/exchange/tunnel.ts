import type { UpstreamResponse, UpstreamTunnel } from "../http/client.ts";
import type { Tunnel } from "../http/server.ts";
import { BoundedWebSocket } from "../http/websocket/bounded.ts";
import type { MessagePolicy } from "../http/websocket/bounds.ts";
import type { Exchange } from "./exchange.ts";

/** Joins the two connections that have left HTTP. `head`: our answer's header lines. */
export function enterTunnel(exchange: Exchange, response: UpstreamResponse, tunnel: UpstreamTunnel, head: string): void {
  const { incoming } = exchange;
  if (incoming.isAborted) {
    tunnel.close();
    return;
  }
  const protocol = response.fields.get("upgrade") ?? "websocket";
  const { websocket } = exchange.route;
  const [fromClient, fromBackend] = websocket === null ? joined(exchange, tunnel) : bounded(exchange, tunnel, websocket);
  incoming.upgrade(`HTTP/1.1 101 ${response.reason}\r\n${head}Connection: Upgrade\r\nUpgrade: ${protocol}\r\n\r\n`, fromClient);
  tunnel.start(fromBackend);
}

/** What each of the two connections writes to: the client's, and the backend's. */
type Ends = readonly [fromClient: Tunnel, fromBackend: Parameters<UpstreamTunnel["start"]>[0]];

function joined({ incoming: { connection } }: Exchange, tunnel: UpstreamTunnel): Ends {
  return [
    { write: (bytes) => tunnel.write(bytes), resume: () => tunnel.resume(), close: () => tunnel.close() },
    {
      write: (bytes) => connection.out.write(bytes),
      drained: () => connection.resume(),
      close: () => connection.endTunnel(),
    },
  ];
}

function bounded({ incoming: { connection }, notes, route }: Exchange, tunnel: UpstreamTunnel, policy: MessagePolicy): Ends {
  const client = {
    write: (bytes: Uint8Array) => connection.out.write(bytes),
    resume: () => connection.resume(),
    end: () => connection.endTunnel(),
    part: () => connection.partTunnel(),
  };
  const socket = new BoundedWebSocket(
    policy,
    client,
    tunnel,
    () => performance.now(),
    ({ code, reason }) => {
      notes.trouble = `the WebSocket was closed with ${code}: ${reason}`;
      route.metrics.closedWebSocket(code);
    },
  );
  return [socket.fromClient, socket.fromBackend];
}

import type { Config } from "../config/schema.ts";
import { tlsPortOf } from "../edge/settings.ts";
import { unixModeOf, unixPathOf } from "../http/settings.ts";
import type { UnixPlace } from "../http/unix-socket.ts";

/** Names a listener: the main port, the one for https beside it, the Unix socket, and the admin API's own. */
export type ListenerName = "main" | "tls" | "unix" | "admin";

/** Says where one of the gateway's listeners is. */
export interface ListeningPlace {
  readonly name: ListenerName;
  readonly host: string;
  /** 0: a free one; of a Unix socket it means nothing. */
  readonly port: number;
  /** Left out: it is on a port. */
  readonly unix?: UnixPlace;
}

/**
 * Lists where a gateway listens, the main port first. `host` and `port`: those of the main port, wherever the command line has put it;
 * `mayReplace`: another gateway at these places may be relieved.
 */
export function placesOf({ server, admin }: Config, host: string, port: number, mayReplace: boolean): ListeningPlace[] {
  const places: ListeningPlace[] = [{ name: "main", host, port }];
  const tlsPort = server.tls === null ? null : tlsPortOf(server.tls);
  if (tlsPort !== null) places.push({ name: "tls", host, port: tlsPort });
  const path = unixPathOf(server.unix);
  if (path !== null) places.push({ name: "unix", host: path, port: 0, unix: { path, mode: unixModeOf(server.unix), mayReplace } });
  if (admin.listen !== null) places.push({ name: "admin", host: admin.listen.host, port: admin.listen.port });
  return places;
}

/** Tells whether a listener speaks TLS. */
export function speaksTls(name: ListenerName, { server: { tls } }: Config): boolean {
  if (tls === null) return false;
  return name === "main" ? tlsPortOf(tls) === null : name !== "unix";
}

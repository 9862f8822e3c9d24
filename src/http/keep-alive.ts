import { type SocketOption, setSocketOptions } from "./kernel.ts";

const SOL_SOCKET = 1;
const SO_KEEPALIVE = 9;
const IPPROTO_TCP = 6;
const TCP_KEEPIDLE = 4;
const TCP_KEEPINTVL = 5;
const TCP_KEEPCNT = 6;
const TCP_USER_TIMEOUT = 18;

/** Seconds of silence before a peer is asked whether it is still there, seconds between two questions, and the number of questions. */
const IDLE = 45;
const INTERVAL = 10;
const PROBES = 6;

const int = (value: number): Uint8Array => new Uint8Array(new Int32Array([value]).buffer);

/** Milliseconds that bytes may wait until the peer acknowledges or takes them: probes don't run while bytes wait. */
const UNACKNOWLEDGED: SocketOption = [IPPROTO_TCP, TCP_USER_TIMEOUT, int(110_000)];

/**
 * Has the kernel notice peers that vanish without a word within two minutes, on all connections that a listener will accept: they inherit
 * its options (tcp(7)). False where that can't be set; then each connection must ask for it.
 */
export const noticeVanishedPeers = (listener: number): boolean =>
  setSocketOptions(listener, [
    [SOL_SOCKET, SO_KEEPALIVE, int(1)],
    [IPPROTO_TCP, TCP_KEEPIDLE, int(IDLE)],
    [IPPROTO_TCP, TCP_KEEPINTVL, int(INTERVAL)],
    [IPPROTO_TCP, TCP_KEEPCNT, int(PROBES)],
    UNACKNOWLEDGED,
  ]);

/**
 * Has the kernel break one connection off when its peer has acknowledged nothing for as long. On Linux; elsewhere, and where it can't be
 * set, nothing happens.
 */
export function giveUpUnacknowledged(descriptor: number): void {
  setSocketOptions(descriptor, [UNACKNOWLEDGED]);
}

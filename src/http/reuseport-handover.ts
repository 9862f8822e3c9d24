import { ptr } from "bun:ffi";
import { setSocketOptions } from "./kernel.ts";

const SOL_SOCKET = 1;
const SO_ATTACH_REUSEPORT_CBPF = 51;
/**
 * The instruction `return 1`: the second listener of the group, which is the one that came last when two share a port. A classic BPF
 * program of one instruction.
 */
const BPF_RETURN = 0x06;
const NEWEST = 1;

/**
 * Makes the kernel give new connections to the other listener on the port (SO_REUSEPORT), so that none waits in the queue of this one when
 * it closes: those would be reset. Without another listener nothing changes: the kernel falls back to sharing out. False where the system
 * can't do it (https://man7.org/linux/man-pages/man7/socket.7.html).
 */
export function divertConnections(descriptor: number): boolean {
  const instruction = new Uint8Array(8);
  const program = new Uint8Array(16);
  new DataView(instruction.buffer).setUint16(0, BPF_RETURN, true);
  new DataView(instruction.buffer).setUint32(4, NEWEST, true);
  new DataView(program.buffer).setUint16(0, 1, true);
  new DataView(program.buffer).setBigUint64(8, BigInt(ptr(instruction)), true);
  return setSocketOptions(descriptor, [[SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, program]]);
}

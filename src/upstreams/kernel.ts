import { dlopen, FFIType, ptr } from "bun:ffi";

const POLLIN = 0x01;
const IPPROTO_TCP = 6;
/** Linux. */
const TCP_USER_TIMEOUT = 18;

/** The C library by its names: GNU's and musl's, and Apple's. */
const LIBRARIES =
  process.platform === "linux"
    ? ["libc.so.6", `libc.musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`]
    : process.platform === "darwin"
      ? ["libSystem.B.dylib"]
      : [];

/** What Bun's sockets don't offer; `null` where the system has no such library. Opened when it is first asked for. */
let library: ReturnType<typeof open> | null | undefined;
const kernel = (): ReturnType<typeof open> | null => {
  if (library === undefined) library = firstOf(LIBRARIES);
  return library;
};

/** One `struct pollfd`: a descriptor, what is asked, what is answered. */
const question = new DataView(new ArrayBuffer(8));
const answer = new Uint8Array(question.buffer);

/**
 * Whether nothing has come on an idle connection: no bytes, no end, no reset. The kernel knows of a close before its event is dispatched here. `null` where it can't be asked.
 * About half a microsecond (https://man7.org/linux/man-pages/man2/poll.2.html).
 */
export function isQuiet(descriptor: number): boolean | null {
  const calls = kernel();
  if (calls === null || !(descriptor >= 0)) return null;
  question.setInt32(0, descriptor, true);
  question.setInt16(4, POLLIN, true);
  question.setInt16(6, 0, true);
  const count = calls.poll(ptr(answer), 1, 0);
  return count < 0 ? null : count === 0;
}

/** Breaks a connection off when the peer has acknowledged nothing for so many milliseconds: keep-alive asks only while no bytes are under way. On Linux. */
export function giveUpUnacknowledged(descriptor: number, milliseconds: number): void {
  if (process.platform !== "linux" || !(descriptor >= 0)) return;
  kernel()?.setsockopt(descriptor, IPPROTO_TCP, TCP_USER_TIMEOUT, ptr(new Int32Array([milliseconds])), 4);
}

function firstOf(names: readonly string[]): ReturnType<typeof open> | null {
  for (const name of names) {
    try {
      return open(name);
    } catch {
      // Not this library: the next one.
    }
  }
  return null;
}

const open = (name: string) =>
  dlopen(name, {
    poll: { args: [FFIType.ptr, FFIType.u32, FFIType.i32], returns: FFIType.i32 },
    setsockopt: { args: [FFIType.i32, FFIType.i32, FFIType.i32, FFIType.ptr, FFIType.u32], returns: FFIType.i32 },
  }).symbols;

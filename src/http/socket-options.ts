import { dlopen, FFIType, ptr } from "bun:ffi";

/** The C library by its names: GNU's and musl's. */
const LIBRARIES = ["libc.so.6", `libc.musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`];

/** Sets options of one socket (setsockopt(2)), each as level, name and value. False where one could not be set, or where the system is not Linux. */
export function setSocketOptions(
  descriptor: number,
  options: readonly (readonly [level: number, name: number, value: Uint8Array])[],
): boolean {
  if (process.platform !== "linux") return false;
  for (const library of LIBRARIES) {
    try {
      using c = open(library);
      return options.every(([level, name, value]) => c.setsockopt(descriptor, level, name, ptr(value), value.length) === 0);
    } catch {
      // Not this library: the next one.
    }
  }
  return false;
}

type Recv = (descriptor: number, buffer: Uint8Array, length: number, flags: number) => number | bigint;
let recv: Recv | null | undefined;
const ONE = new Uint8Array(1);
/** MSG_PEEK | MSG_DONTWAIT. */
const LOOK = 0x42;

/** True when bytes have arrived on a socket that were not read yet (recv(2)). False where that can't be told. */
export function hasUnreadBytes(descriptor: number | undefined): boolean {
  if (process.platform !== "linux" || descriptor === undefined || descriptor < 0) return false;
  recv ??= openRecv();
  return recv !== null && Number(recv(descriptor, ONE, 1, LOOK)) > 0;
}

function openRecv(): Recv | null {
  for (const library of LIBRARIES) {
    try {
      return dlopen(library, { recv: { args: [FFIType.i32, FFIType.ptr, FFIType.u64, FFIType.i32], returns: FFIType.i64 } }).symbols
        .recv as unknown as Recv;
    } catch {
      // Not this library: the next one.
    }
  }
  return null;
}

function open(name: string) {
  const { symbols, close } = dlopen(name, {
    setsockopt: { args: [FFIType.i32, FFIType.i32, FFIType.i32, FFIType.ptr, FFIType.u32], returns: FFIType.i32 },
  });
  return { setsockopt: symbols.setsockopt, [Symbol.dispose]: close };
}

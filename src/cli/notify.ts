import { dlopen } from "bun:ffi";

/** The C library's names: with glibc, and with musl. */
const LIBRARIES = ["libc.so.6", "libc.musl-x86_64.so.1", "libc.musl-aarch64.so.1"];
const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;

/**
 * Tells systemd the state of this process (sd_notify(3)): `READY=1`, `STOPPING=1`. Does nothing where nobody asked, which is where
 * NOTIFY_SOCKET is not set. Gives what went wrong, for the log: systemd would wait for a word that never comes. Bun has no datagrams over
 * Unix sockets, so that the C library sends it.
 */
export function notifySystemd(state: string, path: string | undefined): string | null {
  if (!path || process.platform !== "linux") return null;
  const name = Buffer.from(path);
  // sun_path has 108 bytes; a name in the abstract space, written with @, begins with NUL.
  if (name.length > 107) return "NOTIFY_SOCKET is too long";
  if (name[0] === 0x40) name[0] = 0;
  const address = Buffer.alloc(2 + name.length + (name[0] === 0 ? 0 : 1));
  address.writeUInt16LE(AF_UNIX, 0);
  name.copy(address, 2);
  const message = Buffer.from(state);
  try {
    const { symbols, close } = libc();
    const socket = symbols.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (socket < 0) return "no Unix socket can be made";
    const sent = symbols.sendto(socket, message, message.length, 0, address, address.length);
    symbols.close(socket);
    close();
    return Number(sent) === message.length ? null : `nothing listens at ${path}`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function libc() {
  let fault: unknown;
  for (const name of LIBRARIES) {
    try {
      return dlopen(name, {
        socket: { args: ["i32", "i32", "i32"], returns: "i32" },
        sendto: { args: ["i32", "ptr", "usize", "i32", "ptr", "u32"], returns: "i64" },
        close: { args: ["i32"], returns: "i32" },
      });
    } catch (error) {
      fault = error;
    }
  }
  throw fault;
}

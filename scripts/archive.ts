import { deflateRawSync } from "node:zlib";

/** A file of an archive. Owned by root; a release made twice from the same files is the same to the byte. */
export interface Entry {
  /** Without a slash at the front; a folder ends with one. */
  readonly path: string;
  /** `null` for a folder. */
  readonly bytes: Uint8Array | null;
  readonly mode: number;
  /** User and group; root by default. */
  readonly owner?: number;
}

const BLOCK = 512;

/** Gives a tar archive (POSIX ustar). `time`: of all files, in seconds since 1970. Throws for paths of more than 100 bytes. */
export function tar(entries: readonly Entry[], time: number): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const { path, bytes, mode, owner = 0 } of entries) {
    if (Buffer.byteLength(path) > 100) throw new Error(`${path} is too long for a tar archive`);
    const header = Buffer.alloc(BLOCK);
    const octal = (value: number, at: number, length: number) =>
      header.write(`${value.toString(8).padStart(length - 1, "0")}\0`, at, "ascii");
    header.write(path, 0, "utf8");
    octal(mode, 100, 8);
    octal(owner, 108, 8);
    octal(owner, 116, 8);
    octal(bytes?.length ?? 0, 124, 12);
    octal(time, 136, 12);
    header.fill(" ", 148, 156);
    header.write(bytes === null ? "5" : "0", 156, "ascii");
    header.write("ustar\x0000", 257, "ascii");
    const sum = header.reduce((total, byte) => total + byte, 0);
    header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "ascii");
    parts.push(header);
    if (bytes !== null) parts.push(bytes, Buffer.alloc((BLOCK - (bytes.length % BLOCK)) % BLOCK));
  }
  return Buffer.concat([...parts, Buffer.alloc(2 * BLOCK)]);
}

/** Gives a zip archive, for systems where that is what people open. `time` as for `tar`, told in UTC. */
export function zip(entries: readonly Entry[], time: number): Uint8Array {
  const at = new Date(time * 1000);
  const dosTime = (at.getUTCHours() << 11) | (at.getUTCMinutes() << 5) | (at.getUTCSeconds() >> 1);
  const dosDate = ((at.getUTCFullYear() - 1980) << 9) | ((at.getUTCMonth() + 1) << 5) | at.getUTCDate();
  const local: Uint8Array[] = [];
  const central: Uint8Array[] = [];
  let offset = 0;
  for (const { path, bytes, mode } of entries) {
    const content = bytes ?? new Uint8Array();
    const packed = deflateRawSync(content);
    const name = Buffer.from(path);
    // Version 2.0, names in UTF-8, deflated.
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(0x800, 2);
    common.writeUInt16LE(8, 4);
    common.writeUInt16LE(dosTime, 6);
    common.writeUInt16LE(dosDate, 8);
    common.writeUInt32LE(Bun.hash.crc32(content), 10);
    common.writeUInt32LE(packed.length, 14);
    common.writeUInt32LE(content.length, 18);
    common.writeUInt16LE(name.length, 22);
    const head = [Buffer.from("PK\x03\x04", "latin1"), common, name];
    const rest = Buffer.alloc(14);
    // Unix attributes, which only unpackers there look at.
    rest.writeUInt32LE(((bytes === null ? 0o040000 : 0o100000) | mode) * 0x10000, 6);
    rest.writeUInt32LE(offset, 10);
    central.push(Buffer.from("PK\x01\x02", "latin1"), Buffer.from([20, 3]), common, rest, name);
    local.push(...head, packed);
    offset += 30 + name.length + packed.length;
  }
  const directory = Buffer.concat(central);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06", 0, "latin1");
  end.writeUInt16LE(entries.length, 8);
  end.writeUInt16LE(entries.length, 10);
  end.writeUInt32LE(directory.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...local, directory, end]);
}

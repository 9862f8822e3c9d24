export interface ProxyV2 {
  readonly version?: number;
  /** 0: LOCAL, 1: PROXY. */
  readonly command?: number;
  /** Left out: that of `source`. */
  readonly family?: number;
  /** 4 or 16 bytes; left out: no addresses. */
  readonly source?: Uint8Array;
  /** What stands behind the addresses. */
  readonly more?: Uint8Array;
}

/** Writes a line of the PROXY protocol, version 2, right or wrong. */
export function proxyV2({ version = 2, command = 1, source, more = new Uint8Array(), family }: ProxyV2): Buffer {
  const addresses = source === undefined ? new Uint8Array() : Buffer.concat([source, new Uint8Array(source.length), new Uint8Array(4)]);
  const kind = family ?? (source === undefined ? 0 : source.length === 4 ? 1 : 2);
  const header = Buffer.from("\r\n\r\n\0\r\nQUIT\n0000", "latin1");
  header[12] = (version << 4) | command;
  header[13] = (kind << 4) | 1;
  header.writeUInt16BE(addresses.length + more.length, 14);
  return Buffer.concat([header, addresses, more]);
}

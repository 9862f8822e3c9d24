/** One frame of a WebSocket as a test writes it. */
export interface WrittenFrame {
  readonly opcode: number;
  readonly isFinal?: boolean;
  readonly isMasked?: boolean;
  readonly payload: Uint8Array | string;
}

/** The bytes of a frame (RFC 6455 §5.2). The mask is zero, so that the payload can be read. */
export function frameOf({ opcode, isFinal = true, isMasked = true, payload }: WrittenFrame): Buffer {
  const bytes = Buffer.from(payload as string);
  const mask = isMasked ? 0x80 : 0;
  const first = (isFinal ? 0x80 : 0) | opcode;
  let head: Buffer;
  if (bytes.length < 126) head = Buffer.from([first, mask | bytes.length]);
  else if (bytes.length < 65_536) {
    head = Buffer.from([first, mask | 126, 0, 0]);
    head.writeUInt16BE(bytes.length, 2);
  } else {
    head = Buffer.from([first, mask | 127, 0, 0, 0, 0, 0, 0, 0, 0]);
    head.writeBigUInt64BE(BigInt(bytes.length), 2);
  }
  return Buffer.concat([head, Buffer.alloc(isMasked ? 4 : 0), bytes]);
}

/** The frames in bytes that were received, as far as they are whole. */
export function framesIn(bytes: Buffer): { opcode: number; payload: Buffer }[] {
  const frames: { opcode: number; payload: Buffer }[] = [];
  let at = 0;
  while (at + 2 <= bytes.length) {
    const opcode = (bytes[at] as number) & 0x0f;
    const second = bytes[at + 1] as number;
    let length = second & 0x7f;
    let from = at + 2;
    if (length === 126) {
      length = bytes.readUInt16BE(from);
      from += 2;
    } else if (length === 127) {
      length = Number(bytes.readBigUInt64BE(from));
      from += 8;
    }
    const mask = (second & 0x80) === 0 ? null : bytes.subarray(from, from + 4);
    if (mask !== null) from += 4;
    if (from + length > bytes.length) break;
    const payload = Buffer.from(bytes.subarray(from, from + length));
    if (mask !== null) for (let i = 0; i < payload.length; i++) payload[i] = (payload[i] as number) ^ (mask[i % 4] as number);
    frames.push({ opcode, payload });
    at = from + length;
  }
  return frames;
}

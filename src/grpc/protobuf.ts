// So few messages of Protocol Buffers are needed here that they are written by hand (https://protobuf.dev/programming-guides/encoding/).

const VARINT = 0;
const BYTES = 2;

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  while (rest >= 128) {
    bytes.push((rest % 128) | 128);
    rest = Math.floor(rest / 128);
  }
  bytes.push(rest);
  return bytes;
}

/** Writes a field that holds a number, which must not be negative. One that is 0 is left out, as the default. */
export const numberField = (field: number, value: number): Uint8Array =>
  value === 0 ? new Uint8Array() : Uint8Array.from([...varint(field * 8 + VARINT), ...varint(value)]);

/** Writes a field that holds a text, or another message. */
export function bytesField(field: number, value: string | Uint8Array): Uint8Array {
  const bytes = typeof value === "string" ? Buffer.from(value) : value;
  return Buffer.concat([Uint8Array.from([...varint(field * 8 + BYTES), ...varint(bytes.length)]), bytes]);
}

/** Joins fields to a message. */
export const message = (...fields: readonly Uint8Array[]): Uint8Array => Buffer.concat(fields);

/** Reads the number in a field of a message; 0 where it is missing; `null`: that is no message. */
export function readNumber(bytes: Uint8Array, field: number): number | null {
  let found = 0;
  let at = 0;
  const next = (): number | null => {
    let value = 0;
    for (let shift = 1; at < bytes.length; shift *= 128) {
      const byte = bytes[at++] as number;
      value += (byte & 127) * shift;
      if (byte < 128) return value;
      if (shift > 2 ** 49) return null;
    }
    return null;
  };
  while (at < bytes.length) {
    const tag = next();
    if (tag === null) return null;
    const kind = tag % 8;
    const value = kind === VARINT || kind === BYTES ? next() : null;
    if (value === null) return null;
    if (kind === BYTES) at += value;
    else if (Math.floor(tag / 8) === field) found = value;
  }
  return at === bytes.length ? found : null;
}

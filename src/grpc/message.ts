/** The bytes that stand in `grpc-message` as they are: printable ASCII but for the percent sign. */
const PLAIN = /^[ -$&-~]*$/;

/** Writes a text for `grpc-message`: UTF-8, percent-encoded. */
export function encodeMessage(text: string): string {
  if (PLAIN.test(text)) return text;
  let encoded = "";
  for (const byte of Buffer.from(text))
    encoded += byte >= 0x20 && byte <= 0x7e && byte !== 0x25 ? String.fromCharCode(byte) : `%${HEX[byte >> 4]}${HEX[byte & 15]}`;
  return encoded;
}

const HEX = "0123456789ABCDEF";

/** Reads what `encodeMessage` writes. What is malformed stays as it is. */
export function decodeMessage(text: string): string {
  if (!text.includes("%")) return text;
  const bytes = text.replace(/%([0-9A-Fa-f]{2})/g, (_all, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)));
  return Buffer.from(bytes, "latin1").toString();
}

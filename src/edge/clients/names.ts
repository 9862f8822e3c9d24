import { hex, identifierOf, OBJECT_IDENTIFIER, Reader, SEQUENCE, SET, whole } from "../der.ts";

/** The attribute of a name that says what people call it (RFC 5280 §4.1.2.4). */
export const COMMON_NAME = "2.5.4.3";

/** Short words for the attributes that people see most (RFC 4514 §3). */
const WORDS: Readonly<Record<string, string>> = {
  [COMMON_NAME]: "CN",
  "2.5.4.6": "C",
  "2.5.4.7": "L",
  "2.5.4.8": "ST",
  "2.5.4.10": "O",
  "2.5.4.11": "OU",
};

interface Attribute {
  readonly type: string;
  /** `null`: it is no text. */
  readonly text: string | null;
  readonly bytes: Uint8Array;
}

/** Holds the name of a certificate's holder, or of who has signed it. */
export interface DistinguishedName {
  /** Is the same for names that are the same (RFC 5280 §7.1): whatever alphabet, letter case and spaces they are written with. */
  readonly id: string;
  /** For people, the most special part first: "CN=alice, O=Acme". */
  readonly text: string;
  /** The last common name, which is the most special one; `null`: there is none. */
  readonly commonName: string | null;
}

/** Reads a name. Throws `DerFault`. */
export function nameOf(bytes: Uint8Array): DistinguishedName {
  const parts: Attribute[][] = [];
  for (const part of whole(bytes, SEQUENCE).rest()) {
    const attributes: Attribute[] = [];
    for (const pair of whole(part.bytes, SET).rest()) {
      const reader = whole(pair.bytes, SEQUENCE);
      const type = identifierOf(reader.next(OBJECT_IDENTIFIER));
      const value = reader.next();
      attributes.push({ type, text: textOf(value.tag, value.content), bytes: value.bytes });
    }
    parts.push(attributes);
  }
  const all = parts.flat();
  return {
    id: JSON.stringify(
      parts.map((attributes) => attributes.map(({ type, text, bytes }) => [type, text === null ? hex(bytes) : plain(text)])),
    ),
    text: all
      .toReversed()
      .map(({ type, text }) => `${WORDS[type] ?? type}=${text ?? "?"}`)
      .join(", "),
    commonName: all.findLast(({ type, text }) => type === COMMON_NAME && text !== null)?.text ?? null,
  };
}

/** Gives what two ways to write one name have in common. */
const plain = (text: string): string => text.normalize("NFKC").toLowerCase().trim().replace(/\s+/g, " ");

/** Gives the text of a string; `null` where the element is none, or holds what its alphabet has not. */
export function textOf(tag: number, content: Uint8Array): string | null {
  const bytes = Buffer.from(content.buffer, content.byteOffset, content.byteLength);
  switch (tag) {
    // UTF8String
    case 0x0c:
      return decoded("utf-8", bytes);
    // NumericString, PrintableString, IA5String, VisibleString
    case 0x12:
    case 0x13:
    case 0x16:
    case 0x1a:
      return bytes.every((byte) => byte < 0x80) ? bytes.toString("latin1") : null;
    // TeletexString, which everybody takes for Latin-1
    case 0x14:
      return bytes.toString("latin1");
    // BMPString
    case 0x1e:
      return bytes.length % 2 === 0 ? decoded("utf-16le", Buffer.from(bytes).swap16()) : null;
    default:
      return null;
  }
}

function decoded(encoding: "utf-8" | "utf-16le", bytes: Uint8Array): string | null {
  try {
    return new TextDecoder(encoding, { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}

/** Holds a certificate's other names of the kinds that may name a caller, in their order. */
export interface OtherNames {
  readonly uri: readonly string[];
  readonly dns: readonly string[];
  readonly email: readonly string[];
}

/** The tags of the kinds of names (RFC 5280 §4.2.1.6). */
const KINDS: Readonly<Record<number, keyof OtherNames>> = { 129: "email", 130: "dns", 134: "uri" };

/** Reads the extension subjectAltName. Throws `DerFault`. */
export function otherNames(bytes: Uint8Array): OtherNames {
  const names: Record<keyof OtherNames, string[]> = { uri: [], dns: [], email: [] };
  for (const { tag, content } of whole(bytes, SEQUENCE).rest()) {
    const kind = KINDS[tag];
    const text = kind === undefined ? null : textOf(0x16, content);
    if (kind !== undefined && text !== null) names[kind].push(text);
  }
  return names;
}

/** Reads extensions, each by its identifier. Throws `DerFault`. */
export function extensionsOf(bytes: Uint8Array): ReadonlyMap<string, Uint8Array> {
  const found = new Map<string, Uint8Array>();
  for (const extension of whole(bytes, SEQUENCE).rest()) {
    const parts = [...new Reader(extension.content).rest()];
    const [type] = parts;
    const value = parts.at(-1);
    if (type !== undefined && value !== undefined) found.set(identifierOf(type), value.content);
  }
  return found;
}

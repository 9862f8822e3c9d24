/** Holds the two words of a key of the hash. */
export interface HashKey {
  readonly a: number;
  readonly b: number;
}

/** Holds the last hash that was computed, so that hashing allocates nothing. Both are signed 32-bit integers. */
export const hashed = { a: 0, b: 0 };

/**
 * Hashes a text to 64 bits, into `hashed`. Whoever does not know the key can't look for texts that meet: HalfSipHash-1-3
 * (https://github.com/veorq/SipHash), over four characters at a time, or over two where one of them is above U+00FF.
 */
export function hash(key: HashKey, text: string): void {
  const { length } = text;
  const { a, b } = key;
  const inWords = length & ~3;
  let v0 = a;
  let v1 = b ^ 0xee;
  let v2 = 0x6c_79_67_65 ^ a;
  let v3 = 0x74_65_64_62 ^ b;
  let all = 0;
  for (let i = 0; i < inWords; i += 4) {
    const c0 = text.charCodeAt(i);
    const c1 = text.charCodeAt(i + 1);
    const c2 = text.charCodeAt(i + 2);
    const c3 = text.charCodeAt(i + 3);
    all |= c0 | c1 | c2 | c3;
    const m = c0 | (c1 << 8) | (c2 << 16) | (c3 << 24);
    v3 ^= m;
    // The round is written twice: a function of it would need the four words in memory.
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    v2 = (v2 << 16) | (v2 >>> 16);
    v0 ^= m;
  }
  // The last word has the rest, of three characters at most, and the length.
  let m = length << 24;
  for (let i = inWords; i < length; i++) {
    const c = text.charCodeAt(i);
    all |= c;
    m |= c << ((i & 3) << 3);
  }
  if (all > 0xff) {
    hashWide(key, text);
    return;
  }
  for (let round = 0; round < 7; round++) {
    v3 ^= m;
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    v2 = (v2 << 16) | (v2 >>> 16);
    v0 ^= m;
    m = 0;
    if (round === 0) v2 ^= 0xee;
    else if (round === 3) {
      hashed.a = v1 ^ v3;
      v1 ^= 0xdd;
    }
  }
  hashed.b = v1 ^ v3;
}

/** Hashes the text's UTF-16 code units, with another key than texts of narrow ones have. */
function hashWide({ a, b }: HashKey, text: string): void {
  let narrow = "";
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    narrow += String.fromCharCode(c & 0xff, c >>> 8);
  }
  hash({ a: ~a, b: ~b }, narrow);
}

/** Derives a key from another: texts under different names then have nothing in common. */
export function deriveKey(key: HashKey, name: string): HashKey {
  hash(key, name);
  return { a: hashed.a, b: hashed.b };
}

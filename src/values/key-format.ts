const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const PREFIX = "slc_";
const ENTROPY = 32;
const CHECKSUM = 6;
const SHAPE = /^slc_[0-9A-Za-z]{38}$/;
/** What may be a key at all: printable ASCII without spaces, 16 to 512 characters. */
const POSSIBLE = /^[!-~]{16,512}$/;

/** A new key: `slc_`, 32 base-62 characters of entropy (190 bits), and a checksum by which secret scanners and a cheap check can tell one. */
export function makeKey(): string {
  const text = PREFIX + randomText(ENTROPY);
  return text + checksum(text);
}

/** Base-62 characters from the system's random source, each as likely as any other. */
export function randomText(length: number): string {
  let text = "";
  while (text.length < length) {
    for (const byte of crypto.getRandomValues(new Uint8Array(length * 2))) {
      // 248 = 4 × 62: what lies above would favour the first characters.
      if (byte < 248 && text.length < length) text += ALPHABET[byte % 62];
    }
  }
  return text;
}

/** CRC-32 of the text in base 62. */
function checksum(text: string): string {
  let rest = Bun.hash.crc32(text);
  let digits = "";
  for (let i = 0; i < CHECKSUM; i++) {
    digits = ALPHABET[rest % 62] + digits;
    rest = Math.floor(rest / 62);
  }
  return digits;
}

/** False for what can't be a key of ours or an imported one, so that it need not be looked up: characters, length, or the checksum of a made one. */
export function isPlausible(secret: string): boolean {
  return POSSIBLE.test(secret) && (!isShaped(secret) || hasChecksum(secret));
}

/** Whether a key reads as one that Sluice made, its checksum included: nobody guesses another's. */
export const isMade = (secret: string): boolean => isShaped(secret) && hasChecksum(secret);

/** Whether a key begins as one that Sluice made, but is too short or too long: unless somebody has imported it, a piece is missing. */
export const isCutOff = (secret: string): boolean => secret.startsWith(PREFIX) && !isShaped(secret);

const isShaped = (secret: string): boolean => secret.startsWith(PREFIX) && SHAPE.test(secret);
const hasChecksum = (secret: string): boolean => checksum(secret.slice(0, -CHECKSUM)) === secret.slice(-CHECKSUM);

/** SHA-256 in lower-case hexadecimal. A key has so much entropy that a slow hash would protect nothing. */
export const hashKey = (secret: string): string => Bun.SHA256.hash(secret, "hex");

/** A declared key as its hash: for files that must not hold the key itself. */
export const HASHED = /^sha256:[0-9a-f]{64}$/;

/** Gives the hash of a declared key, which may be one already. */
export const declaredHash = (secret: string): string => (HASHED.test(secret) ? secret.slice("sha256:".length) : hashKey(secret));

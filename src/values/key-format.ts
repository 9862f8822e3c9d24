const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const PREFIX = "slc_";
const ENTROPY = 32;
const CHECKSUM = 6;
const SHAPE = /^slc_[0-9A-Za-z]{38}$/;
/** The form that every key has: printable ASCII without spaces, 16 to 512 characters. */
const POSSIBLE = /^[!-~]{16,512}$/;

/**
 * Makes a new key: `slc_`, 32 base-62 characters of entropy (190 bits), and a checksum by which secret scanners and a cheap check recognise
 * a key.
 */
export function makeKey(): string {
  const text = PREFIX + randomText(ENTROPY);
  return text + checksum(text);
}

/** Gives base-62 characters from the system's random source, each as likely as any other. */
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

/** Gives the CRC-32 of the text in base 62. */
function checksum(text: string): string {
  let rest = Bun.hash.crc32(text);
  let digits = "";
  for (let i = 0; i < CHECKSUM; i++) {
    digits = ALPHABET[rest % 62] + digits;
    rest = Math.floor(rest / 62);
  }
  return digits;
}

/**
 * Tells whether a text can be a key of ours or an imported one, by its characters, its length and a made key's checksum; others need no
 * look-up.
 */
export function isPlausible(secret: string): boolean {
  return POSSIBLE.test(secret) && (!isShaped(secret) || hasChecksum(secret));
}

/** Tells whether a text begins like the keys that Sluice makes. */
export const beginsLikeMade = (secret: string): boolean => secret.startsWith(PREFIX);

/** Tells whether a key has the form of those that Sluice makes, its checksum included: nobody guesses another caller's key. */
export const isMade = (secret: string): boolean => isShaped(secret) && hasChecksum(secret);

/**
 * Tells whether a key begins like those that Sluice makes, but is too short or too long: unless somebody has imported it, a piece is
 * missing.
 */
export const isCutOff = (secret: string): boolean => secret.startsWith(PREFIX) && !isShaped(secret);

const isShaped = (secret: string): boolean => secret.startsWith(PREFIX) && SHAPE.test(secret);
const hasChecksum = (secret: string): boolean => checksum(secret.slice(0, -CHECKSUM)) === secret.slice(-CHECKSUM);

/** Gives the SHA-256 in lower-case hexadecimal. A key has so much entropy that a slow hash would protect nothing. */
export const hashKey = (secret: string): string => Bun.SHA256.hash(secret, "hex");

/** The form of a declared key's hash, for files that must not hold the key itself. */
export const HASHED = /^sha256:[0-9a-f]{64}$/;

/** Gives the hash of a declared key, which may be one already. */
export const declaredHash = (secret: string): string => (HASHED.test(secret) ? secret.slice("sha256:".length) : hashKey(secret));

import { createHmac, randomBytes } from "node:crypto";

const PREFIX = "whsec_";
/** The bytes of a secret (Standard Webhooks: 24 to 64). */
const MIN_BYTES = 24;
const MAX_BYTES = 64;
const MADE_BYTES = 32;

/** The most secrets that a webhook may have at a time: two while one is rotated, and room for a mistake. */
export const MAX_SECRETS = 4;

/** Makes a secret. */
export const makeSecret = (): string => PREFIX + randomBytes(MADE_BYTES).toString("base64");

/** Gives the secrets of a webhook, the newest first: they stand in one text, with spaces between them. */
export const secretsOf = (text: string): string[] => text.split(" ").filter((each) => each !== "");

/** Tells whether this is a secret: `whsec_` and the base64 of 24 to 64 bytes. */
export function isSecret(text: string): boolean {
  if (!text.startsWith(PREFIX)) return false;
  const encoded = text.slice(PREFIX.length);
  const bytes = Buffer.from(encoded, "base64");
  return (
    bytes.length >= MIN_BYTES && bytes.length <= MAX_BYTES && bytes.toString("base64").replace(/=+$/, "") === encoded.replace(/=+$/, "")
  );
}

/** What a signature covers. */
export interface Signed {
  readonly id: string;
  /** Seconds since 1970. */
  readonly timestamp: number;
  readonly body: string;
}

/**
 * Gives the field `webhook-signature` (Standard Webhooks 1.0): HMAC-SHA256 over id, timestamp and body, one signature for each secret.
 *
 * @example
 * signatureOf("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", { id: "msg_1", timestamp: 1700000000, body: "{}" }); // "v1,x5lVgj0b/JJJaUYaa1+6I5J/EECcryrPlFN4VrkmI94="
 */
export const signatureOf = (secrets: string, { id, timestamp, body }: Signed): string =>
  secretsOf(secrets)
    .map((secret) => {
      const hmac = createHmac("sha256", Buffer.from(secret.slice(PREFIX.length), "base64"));
      return `v1,${hmac.update(`${id}.${timestamp}.${body}`).digest("base64")}`;
    })
    .join(" ");

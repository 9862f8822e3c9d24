import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto";
import type { TSchema } from "@sinclair/typebox";
import type { Fault } from "../schema/faults.ts";
import { mapSecrets } from "../schema/secrets.ts";

/** Says that a stored secret can't be read, or that none can be stored: SLUICE_SECRET is missing or another one. */
export class SecretFault extends Error {}

const PREFIX = "sealed:v1:";

/**
 * Seals the credentials that the admin API is given, so that the database holds none (AES-256-GCM under a key derived from SLUICE_SECRET,
 * with a fresh nonce each).
 */
export class Secrets {
  private readonly keys: readonly Buffer[];
  /** True where there is a secret to seal under. */
  readonly canSeal: boolean;

  /** Takes SLUICE_SECRET, and the one before it (SLUICE_SECRET_OLD), which still opens what it sealed. */
  constructor(secret: string | undefined, old: string | undefined) {
    this.keys = [secret, old].flatMap((text) =>
      text === undefined || text === "" ? [] : [Buffer.from(hkdfSync("sha256", text, "", "sluice credentials", 32))],
    );
    this.canSeal = secret !== undefined && secret !== "";
  }

  /** Gives a value with what its schema calls secret sealed, as it is stored. */
  sealIn(schema: TSchema, value: unknown): unknown {
    return mapSecrets(schema, value, (secret) => this.seal(secret));
  }

  /** Gives a value that `sealIn` has made as it was before. Throws `SecretFault`. */
  openIn(schema: TSchema, value: unknown): unknown {
    return mapSecrets(schema, value, (sealed) => this.open(sealed));
  }

  /** Gives a fault for each secret in a value that can't be sealed. */
  faultsIn(schema: TSchema, value: unknown): Fault[] {
    if (this.canSeal) return [];
    const faults: Fault[] = [];
    mapSecrets(schema, value, (secret, _, path) => {
      faults.push({ path, message: "can't be stored: start the gateway with SLUICE_SECRET, under which secrets are encrypted" });
      return secret;
    });
    return faults;
  }

  /** Seals a text. Throws `SecretFault` where it can't. */
  seal(text: string): string {
    const [key] = this.keys;
    if (!this.canSeal || key === undefined) throw new SecretFault("SLUICE_SECRET is not set");
    const nonce = randomBytes(12);
    const cipher = createCipheriv("aes-256-gcm", key, nonce);
    return PREFIX + Buffer.concat([nonce, cipher.update(text, "utf8"), cipher.final(), cipher.getAuthTag()]).toString("base64");
  }

  /** Opens what may have been sealed; gives what was not as it is. Throws `SecretFault`. */
  openIfSealed(text: string): string {
    return text.startsWith(PREFIX) ? this.open(text) : text;
  }

  private open(sealed: string): string {
    if (!sealed.startsWith(PREFIX)) throw new SecretFault("this is no sealed secret");
    const bytes = Buffer.from(sealed.slice(PREFIX.length), "base64");
    for (const key of this.keys) {
      try {
        const decipher = createDecipheriv("aes-256-gcm", key, bytes.subarray(0, 12));
        decipher.setAuthTag(bytes.subarray(-16));
        return Buffer.concat([decipher.update(bytes.subarray(12, -16)), decipher.final()]).toString();
      } catch {
        // Not this key: the old one may open it.
      }
    }
    throw new SecretFault("a stored credential can't be read: set SLUICE_SECRET (or SLUICE_SECRET_OLD) to the one it was stored under");
  }
}

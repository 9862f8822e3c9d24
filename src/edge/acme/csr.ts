import { createPublicKey, type KeyObject, sign } from "node:crypto";
import { parseIp } from "../../values/ip.ts";
import { BIT_STRING, BOOLEAN, context, INTEGER, OCTET_STRING, objectIdentifier, SEQUENCE, SET, write } from "../der.ts";

const ECDSA_WITH_SHA256 = "1.2.840.10045.4.3.2";
const EXTENSION_REQUEST = "1.2.840.113549.1.9.14";
const SUBJECT_ALT_NAME = "2.5.29.17";

const VERSION_1 = write(INTEGER, Buffer.of(0));
const TRUE = write(BOOLEAN, Buffer.of(0xff));
/** A name that says nothing: who it is for stands in the alternative names alone, as authorities prefer. */
const NO_SUBJECT = write(SEQUENCE);

/**
 * Writes a request for a certificate of one host (PKCS #10, RFC 2986), in DER. `host`: a name in ASCII, or an address. `key`: a private key on
 * the curve P-256.
 */
export function certificateRequest(host: string, key: KeyObject): Buffer {
  const publicKey = createPublicKey(key).export({ type: "spki", format: "der" });
  const info = write(SEQUENCE, VERSION_1, NO_SUBJECT, publicKey, write(context(0, true), extensionRequest(host)));
  const algorithm = write(SEQUENCE, objectIdentifier(ECDSA_WITH_SHA256));
  // Of bits none is left over.
  const signature = write(BIT_STRING, Buffer.of(0), sign("sha256", info, key));
  return write(SEQUENCE, info, algorithm, signature);
}

function extensionRequest(host: string): Buffer {
  const address = parseIp(host);
  // RFC 5280 §4.2.1.6: dNSName is [2], iPAddress is [7].
  const name = address === null ? write(context(2, false), Buffer.from(host, "latin1")) : write(context(7, false), address);
  // Critical, since the subject is empty.
  const extension = write(SEQUENCE, objectIdentifier(SUBJECT_ALT_NAME), TRUE, write(OCTET_STRING, write(SEQUENCE, name)));
  return write(SEQUENCE, objectIdentifier(EXTENSION_REQUEST), write(SET, write(SEQUENCE, extension)));
}

import type { ClientAuthorities } from "../certificates.ts";
import type { ReadCertificate } from "./certificate.ts";

/** The characters of a caller's name: it stands in a header, in subjects of limits and in addresses of the admin API. */
const NAME = /^[!#-[\]-~]{1,128}$/;
/** What a common name may have besides, which stands in the caller's name as in a URL: spaces, quotes, other alphabets. "%" must stay one. */
const ENCODED = /[^!#$&-[\]-~]/gu;
const CONTROL = /[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffd]/;

/**
 * Gives the name of a certificate's caller by the field that is to name it; `null` where there is none, or it can't be one. Of several
 * common names it is the last, of other names the first. A name such as `Jane Doe` is `Jane%20Doe`.
 */
export function callerName({ subject, others }: ReadCertificate, field: ClientAuthorities["consumer"]): string | null {
  const name = named(field, subject.commonName, others);
  return name !== null && NAME.test(name) ? name : null;
}

function named(
  field: ClientAuthorities["consumer"],
  commonName: string | null,
  { uri, dns, email }: ReadCertificate["others"],
): string | null {
  switch (field) {
    case "subject.CN":
      return commonName === null || CONTROL.test(commonName)
        ? null
        : commonName.replace(ENCODED, (character) => encodeURIComponent(character));
    case "san.uri":
      return uri[0] ?? null;
    case "san.dns":
      // Names of hosts are the same in any letter case (RFC 4343).
      return dns[0]?.toLowerCase() ?? null;
    case "san.email":
      return email[0] ?? null;
  }
}

import { isObject } from "../values/json.ts";
import { askIssuer, IssuerTrouble, type Refuses } from "./ask.ts";

/** Holds what an issuer says of itself (OpenID Connect Discovery 1.0, section 4), and the place that says it. */
export interface Discovered {
  readonly place: string;
  readonly document: Readonly<Record<string, unknown>>;
}

/** Asks an issuer what there is. Throws `IssuerTrouble`. */
export async function discover(issuer: string, refuses: Refuses, signal: AbortSignal): Promise<Discovered> {
  const place = `${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`;
  const document = await askIssuer({ url: place, refuses, signal });
  if (!isObject(document)) throw new IssuerTrouble(`${place} is no JSON object`);
  if (document.issuer !== issuer) throw new IssuerTrouble(`${place} is of another issuer: ${JSON.stringify(document.issuer)}`);
  return { place, document };
}

/** Gives the URL that a field of the document names. Throws `IssuerTrouble` where it is none, or others could read what is sent there. */
export function placeIn({ place, document }: Discovered, field: string): string {
  const { [field]: url } = document;
  if (typeof url !== "string" || !URL.canParse(url)) throw new IssuerTrouble(`${place} names no ${field}`);
  const { protocol } = new URL(url);
  if (protocol !== "https:" && (protocol !== "http:" || place.startsWith("https:")))
    throw new IssuerTrouble(`${place} names a ${field} that begins with ${protocol}`);
  return url;
}

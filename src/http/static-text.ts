import { hashKey } from "../values/key-format.ts";

/**
 * The header fields of everything of Sluice's own that a browser shows. Swagger UI draws its icons from data: URLs; nothing here needs a
 * script or a style within a page.
 */
export const PAGE_HEADERS: Readonly<Record<string, string>> = {
  "content-security-policy":
    "default-src 'self'; img-src 'self' data:; base-uri 'none'; object-src 'none'; form-action 'self'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
};

/** The icon of all pages: a sluice's gate with water below it. */
export const ICON =
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="6" fill="#0b6e99"/><path d="M8 6v20M24 6v20M8 10h16v7H8z" fill="none" stroke="#fff" stroke-width="3"/><path d="M11 23q2.500-3 5 0t5 0" fill="none" stroke="#9fdcf5" stroke-width="2.500"/></svg>';

/** Serves a text that does not change while the gateway runs: made once, kept with its ETag and compressed. */
export class Kept {
  private made: Promise<{ plain: Uint8Array<ArrayBuffer>; gzip: Uint8Array<ArrayBuffer>; etag: string }> | null = null;

  /** Keeps the text. `cacheControl`: how long others may keep it; with `no-cache` they ask each time whether it is still the same. */
  constructor(
    private readonly type: string,
    private readonly cacheControl: string,
    private readonly make: () => string | Promise<string>,
  ) {}

  /** Answers 200, compressed for those who take gzip, or 304 to who has it already. */
  async answer(request: Request): Promise<Response> {
    this.made ??= this.compress().catch((error: unknown) => {
      this.made = null;
      throw error;
    });
    const { plain, gzip, etag } = await this.made;
    const headers = { ...PAGE_HEADERS, "cache-control": this.cacheControl, etag, vary: "Accept-Encoding" };
    if (isNoneMatch(request.headers.get("if-none-match"), etag)) return new Response(null, { status: 304, headers });
    const isZipped = takesCoding(request.headers.get("accept-encoding"), "gzip");
    return new Response(isZipped ? gzip : plain, {
      headers: { ...headers, "content-type": this.type, ...(isZipped ? { "content-encoding": "gzip" } : {}) },
    });
  }

  private async compress() {
    const text = await this.make();
    const plain = new TextEncoder().encode(text);
    return { plain, gzip: Bun.gzipSync(plain), etag: `W/"${hashKey(text).slice(0, 32)}"` };
  }
}

/** Tells whether a browser takes a coding, by its Accept-Encoding field. */
export const takesCoding = (accepted: string | null, coding: "br" | "gzip"): boolean =>
  new RegExp(`\\b${coding}\\b(?!\\s*;\\s*q=0(\\.0*)?\\s*(,|$))`, "i").test(accepted ?? "");

/** Tells whether a caller has this version already (RFC 9110, section 13.1.2: the comparison is weak). */
export const isNoneMatch = (field: string | null, etag: string): boolean =>
  field !== null && (field.trim() === "*" || field.split(",").some((tag) => tag.trim().replace(/^W\//, "") === etag.replace(/^W\//, "")));

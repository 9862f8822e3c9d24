import { readFile, stat } from "node:fs/promises";
import { askIssuer, IssuerTrouble, type Refuses } from "./ask.ts";
import { discover, placeIn } from "./discovery.ts";
import { type IssuerConfig, isUrl } from "./settings.ts";

/** Brings an issuer's key set from where it is. */
export interface KeySource {
  /** Gives the set as JSON. Throws `IssuerTrouble`. */
  load(signal: AbortSignal): Promise<unknown>;
  /** Tells whether there may be another set, where that can be seen from outside. */
  hasChanged?(): Promise<boolean>;
}

/** Gives the place that an issuer's keys come from. `refuses` left out: every URL may be asked. */
export const sourceOf = ({ issuer, jwks }: Pick<IssuerConfig, "issuer" | "jwks">, refuses: Refuses = () => null): KeySource =>
  jwks === null ? new DiscoveredSource(issuer, refuses) : isUrl(jwks) ? new UrlSource(jwks, refuses) : new FileSource(jwks);

class UrlSource implements KeySource {
  constructor(
    private readonly url: string,
    private readonly refuses: Refuses,
  ) {}

  load(signal: AbortSignal): Promise<unknown> {
    const { url, refuses } = this;
    return askIssuer({ url, refuses, signal });
  }
}

/**
 * Finds out from the issuer where its keys are (OpenID Connect Discovery 1.0, section 4), once: it asks again when nothing is there any
 * more.
 */
class DiscoveredSource implements KeySource {
  private found: string | null = null;

  constructor(
    private readonly issuer: string,
    private readonly refuses: Refuses,
  ) {}

  async load(signal: AbortSignal): Promise<unknown> {
    const { found: known, refuses } = this;
    if (known !== null) {
      // What this one says will be told if the other place is gone as well.
      this.found = null;
      const set = await askIssuer({ url: known, refuses, signal });
      this.found = known;
      return set;
    }
    const url = placeIn(await discover(this.issuer, refuses, signal), "jwks_uri");
    const set = await askIssuer({ url, refuses, signal });
    this.found = url;
    return set;
  }
}

const MAX_FILE = 1024 * 1024;

class FileSource implements KeySource {
  private seen = "";

  constructor(private readonly file: string) {}

  async load(): Promise<unknown> {
    try {
      this.seen = await this.mark();
      const stats = await stat(this.file);
      // A pipe or a device may never end.
      if (!stats.isFile()) throw new IssuerTrouble(`${this.file} is no file`);
      if (stats.size > MAX_FILE) throw new IssuerTrouble(`${this.file} has more than ${MAX_FILE} bytes`);
      return JSON.parse(await readFile(this.file, "utf8"));
    } catch (error) {
      if (error instanceof IssuerTrouble) throw error;
      throw new IssuerTrouble(
        error instanceof SyntaxError
          ? `${this.file} is no JSON`
          : `${this.file} can't be read: ${error instanceof Error ? error.message : error}`,
      );
    }
  }

  async hasChanged(): Promise<boolean> {
    return (await this.mark()) !== this.seen;
  }

  private async mark(): Promise<string> {
    try {
      const { mtimeMs, size, ino } = await stat(this.file);
      return `${mtimeMs} ${size} ${ino}`;
    } catch {
      return "";
    }
  }
}

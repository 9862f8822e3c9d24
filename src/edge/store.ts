import type { Fault } from "../schema/faults.ts";
import type { CertificateSource, ClientAuthorities, ServedCertificate, Standing, TlsInForce } from "./certificates.ts";
import { type ConfiguredPair, madeOfAuthorities, madeOfPair, pairsOf } from "./files.ts";
import type { ClientCertificatesConfig, TlsConfig } from "./settings.ts";
import { Watched } from "./watched.ts";

export interface CertificateStoreDeps {
  /** Gives milliseconds since 1970. */
  readonly wall: () => number;
  /** Told of what is served from here on; also where that is what was served before. */
  readonly onChange: (inForce: TlsInForce) => void;
  /** Told when a file is found broken, and why; `null`: it is well again. */
  readonly onTrouble: (file: string, why: string | null) => void;
}

/** A configuration's files, read and ready to come into force. */
export interface PreparedFiles {
  /** What is wrong with files that never were well: with these the configuration can't come into force. */
  readonly faults: readonly Fault[];
  /** Puts them in force. */
  enter(): void;
}

/** The files of one configuration. */
interface Files {
  readonly pairs: readonly { readonly of: ConfiguredPair; readonly watched: Watched<ServedCertificate> }[];
  readonly authorities: { readonly of: ClientCertificatesConfig; readonly watched: Watched<string> } | null;
}

/** The certificates that one look is at: each takes a few microseconds, every second. */
const MAX_LOOKS = 50;

const NO_FILES: Files = { pairs: [], authorities: null };

/**
 * Keeps what TLS is served with: the certificates of files, as they were when they were well last, and behind them those of another source. Files are looked
 * at again and again, and whatever has changed is in force at once.
 */
export class CertificateStore {
  private files: Files;
  private source: CertificateSource | null = null;
  private readonly troubled = new Map<string, string>();
  /** The place from which the next look goes on. */
  private turn = 0;

  /** Reads the files that `tls` names. Of one that is broken serves what was in force `last`; where nothing was, it is left out. */
  constructor(
    tls: TlsConfig | null,
    last: TlsInForce | null,
    private readonly deps: CertificateStoreDeps,
  ) {
    this.files = this.filesOf(tls, NO_FILES, last);
    for (const watched of watchedOf(this.files)) watched.readNow();
    this.tellTroubles();
  }

  /** Gives what is served now. */
  get inForce(): TlsInForce {
    const { pairs, authorities } = this.files;
    const own = pairs.flatMap(({ watched: { good } }) => (good === null ? [] : [good]));
    return { certificates: [...own, ...(this.source?.certificates ?? [])], clients: authorities === null ? null : clientsOf(authorities) };
  }

  /** Tells how it stands with each place that certificates come from. */
  get standings(): readonly Standing[] {
    const { pairs, authorities } = this.files;
    const files = pairs.map(({ watched }) => standingOf(watched, watched.good));
    const ofClients = authorities === null || authorities.watched.trouble === null ? [] : [standingOf(authorities.watched, null)];
    return [...files, ...ofClients, ...(this.source === null ? [] : (this.source.standings ?? this.source.certificates.map(wellStanding)))];
  }

  /** Serves the certificates of another source as well, behind those of files. */
  use(source: CertificateSource): void {
    this.source = source;
    source.onChange = () => this.tell();
    if (source.certificates.length > 0) this.tell();
  }

  /** Looks whether files have changed, a part of them in turn where there are many, and reads these; or reads all, in any case (`isCertain`). */
  async look(isCertain = false): Promise<void> {
    const { files } = this;
    const all = watchedOf(files);
    const from = this.turn < all.length ? this.turn : 0;
    this.turn = from + MAX_LOOKS;
    const changes = await Promise.all((isCertain ? all : all.slice(from, this.turn)).map((watched) => watched.look(isCertain)));
    // Another configuration may have come into force meanwhile. One that was refused has read files as well: what it has found is told here.
    if (files !== this.files || (!isCertain && !changes.includes(true))) return;
    this.tellTroubles();
    this.tell();
  }

  /** Reads the files of another configuration beside those in force. */
  async prepare(tls: TlsConfig | null): Promise<PreparedFiles> {
    const files = this.filesOf(tls, this.files);
    await Promise.all(watchedOf(files).map((watched) => watched.look(true)));
    return {
      faults: faultsOf(files),
      enter: () => {
        this.files = files;
        this.tellTroubles();
        this.tell();
      },
    };
  }

  /** Takes those of `before` that are named again, with what they have in force. */
  private filesOf(tls: TlsConfig | null, before: Files, last: TlsInForce | null = null): Files {
    if (tls === null) return NO_FILES;
    const { wall } = this.deps;
    const pairs = pairsOf(tls).map((of) => {
      const known = before.pairs.find(({ of: { cert, key } }) => cert === of.cert && key === of.key);
      if (known !== undefined) return { of, watched: known.watched };
      const good = last?.certificates.find(({ source, place }) => source === "file" && place === of.cert) ?? null;
      return { of, watched: new Watched([of.cert, of.key], (texts) => madeOfPair(of, texts), wall, good) };
    });
    const { clientCertificates: of } = tls;
    if (of === null) return { pairs, authorities: null };
    const known = before.authorities?.of.ca === of.ca ? before.authorities.watched : null;
    const watched = known ?? new Watched([of.ca], (texts) => madeOfAuthorities(of.ca, texts), wall, last?.clients?.pem ?? null);
    return { pairs, authorities: { of, watched } };
  }

  private tell(): void {
    this.deps.onChange(this.inForce);
  }

  private tellTroubles(): void {
    const { troubled, deps } = this;
    const now = new Map<string, string>();
    for (const { files, trouble } of watchedOf(this.files)) if (trouble !== null) now.set(files[0] ?? "", trouble);
    for (const file of [...troubled.keys()].filter((each) => !now.has(each))) {
      troubled.delete(file);
      deps.onTrouble(file, null);
    }
    for (const [file, why] of now) {
      if (troubled.get(file) === why) continue;
      troubled.set(file, why);
      deps.onTrouble(file, why);
    }
  }
}

const watchedOf = ({ pairs, authorities }: Files): readonly Watched<ServedCertificate | string>[] =>
  [...pairs.map(({ watched }) => watched), ...(authorities === null ? [] : [authorities.watched])] as readonly Watched<
    ServedCertificate | string
  >[];

/** Says how clients are judged. Authorities that never could be read let nobody in: an empty text is not "nobody is asked". */
function clientsOf({ of: { require, consumer, tier }, watched }: NonNullable<Files["authorities"]>): ClientAuthorities {
  return { pem: watched.good ?? "", require, consumer, tier };
}

function faultsOf({ pairs, authorities }: Files): Fault[] {
  const faults = pairs.flatMap(({ of: { path }, watched: { good, trouble, troubledFile } }): Fault[] =>
    good === null ? [{ path: [...path, troubledFile === 1 ? "key" : "cert"], message: trouble ?? "can't be read" }] : [],
  );
  if (authorities !== null && authorities.watched.good === null)
    faults.push({ path: ["server", "tls", "clientCertificates", "ca"], message: authorities.watched.trouble ?? "can't be read" });
  return faults;
}

const standingOf = (
  { files, trouble, troubledSince }: Pick<Watched<unknown>, "files" | "trouble" | "troubledSince">,
  served: ServedCertificate | null,
): Standing => ({
  ...{ place: files[0] ?? "", source: "file", names: served?.names ?? [], endsAt: served?.endsAt ?? null, renewsAt: null },
  ...{ trouble, troubledSince },
});

const wellStanding = ({ place, source, names, endsAt }: ServedCertificate): Standing => ({
  ...{ place, source, names, endsAt, renewsAt: null, trouble: null, troubledSince: null },
});

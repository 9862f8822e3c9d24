import { canChoose } from "../edge/bun-tls.ts";
import type { CertificateSource, Standing, TlsInForce } from "../edge/certificates.ts";
import { day, endsSoon, lifeOf } from "../edge/ends.ts";
import { HeldTls, NOTHING_SERVED } from "../edge/held.ts";
import type { TlsConfig } from "../edge/settings.ts";
import { CertificateStore, type PreparedFiles } from "../edge/store.ts";
import { NoAnswer } from "../shared/bus.ts";
import type { Ground } from "./ground.ts";

/** What the keeper tells, and is asked for. */
const IN_FORCE = "certificates.inForce";
const ASKED_WITHIN = 5000;
/** Milliseconds between two looks at the files, and between two at what ends. */
const LOOK_EVERY = 1000;
const LOOK_AT_ENDS_EVERY = 60_000;

/** Gives what listeners serve TLS with, and how it stands with it. */
export interface Certificates {
  /** What this process serves TLS with. */
  readonly held: HeldTls;
  /** Tells whether certificates can be chosen by the name that a client asks for. */
  readonly canChoose: boolean;
  /** Resolves when that is known. */
  readonly tried: Promise<void>;
  /** Takes over what the keeper has in force; in other processes it does nothing. */
  look(): Promise<void>;
  /** Tells how it stands with each place that certificates come from. */
  standings(): readonly Standing[];
  /** Reads the files of another configuration. */
  prepare(tls: TlsConfig | null): Promise<PreparedFiles>;
}

/** Opens what TLS is served with: one process reads and judges it, and tells the workers. `source`: certificates that are in no file of the configuration's. */
export function openCertificates(ground: Ground, source: CertificateSource | null = null): Certificates {
  const { bus, options, inForce } = ground;
  const last = options.tls ?? null;
  const opened = bus.role === "worker" ? openInWorker(ground, last) : openStore(ground, last, source);
  const { held } = opened;
  const state = { canChoose: true };
  const tried = tryChoosing(held.current, inForce.config.server.tls).then((works) => {
    if (works) return;
    state.canChoose = false;
    ground.warnings.raise(
      "certificateNamesUnavailable",
      "Certificates can't be chosen by name on this system: the first one serves all callers.",
    );
  });
  return {
    ...opened,
    tried,
    get canChoose() {
      return state.canChoose;
    },
  };
}

/** Tries it where it is needed. */
async function tryChoosing({ certificates: [first, second] }: TlsInForce, tls: TlsConfig | null): Promise<boolean> {
  if (tls === null || first === undefined || (second === undefined && tls.acme === null)) return true;
  return await canChoose(first);
}

type Opened = Omit<Certificates, "canChoose" | "tried">;

/** Follows the keeper. */
function openInWorker({ bus }: Ground, last: TlsInForce | null): Opened {
  const held = new HeldTls(last ?? NOTHING_SERVED);
  bus.hear<TlsInForce>(IN_FORCE, (next) => void held.put(next));
  return {
    held,
    look: async () => {
      try {
        held.put(await bus.askKeeper<TlsInForce>(IN_FORCE, null, ASKED_WITHIN));
      } catch (error) {
        // While there is no keeper nothing else can have come into force.
        if (!(error instanceof NoAnswer)) throw error;
      }
    },
    standings: () => [],
    prepare: async () => ({ faults: [], enter: () => {} }),
  };
}

/** Reads and judges, and tells all others. */
function openStore(ground: Ground, last: TlsInForce | null, source: CertificateSource | null): Opened {
  const { bus, clock, emit, every, tell, occurrences, options, inForce } = ground;
  const wall = () => clock.wall();
  const held = new HeldTls(NOTHING_SERVED);
  const store = new CertificateStore(inForce.config.server.tls, last, {
    wall,
    onChange: (next) => {
      const before = held.current;
      if (!held.put(next)) return;
      bus.tell(IN_FORCE, next);
      options.onCertificates?.(next);
      tellReplaced(ground, before, next);
      lookAtEnds(ground, next);
    },
    onTrouble: (name, why) => emit({ type: "certificateFailing", name, why, nextAt: null }),
  });
  held.put(store.inForce);
  if (source !== null) store.use(source);
  bus.answer(IN_FORCE, () => held.current);
  options.onCertificates?.(held.current);
  const look = (isCertain: boolean): void => void store.look(isCertain).catch(tell);
  if (inForce.config.server.tls !== null) {
    every(LOOK_EVERY, () => look(false));
    lookAtEnds(ground, held.current);
    every(LOOK_AT_ENDS_EVERY, () => lookAtEnds(ground, held.current));
    // Whoever asks for a reload has often just written other certificates: also where the configuration has faults.
    occurrences.subscribe({ reload: () => look(true) });
  }
  return { held, look: async () => {}, standings: () => store.standings, prepare: (tls) => store.prepare(tls) };
}

/** Tells of certificates that took the place of others. */
function tellReplaced({ emit }: Ground, before: TlsInForce, { certificates }: TlsInForce): void {
  const known = new Set(before.certificates.map(({ cert }) => cert));
  for (const { cert, place, names, endsAt, source } of certificates)
    if (source === "file" && !known.has(cert)) emit({ type: "certificateReplaced", place, names, endsAt });
}

/** Raises a warning of what ends soon, or clears it. */
function lookAtEnds({ warnings, clock }: Ground, { certificates }: TlsInForce): void {
  const ending = certificates.filter((served) => endsSoon(lifeOf(served), clock.wall()));
  if (ending.length === 0) warnings.clear("certificateEnding");
  else
    warnings.raise(
      "certificateEnding",
      "A certificate ends soon, or has ended: callers then refuse the connection. Put another into the place of its file, or see why it is not renewed.",
      ending.map(({ place, names, endsAt }) => `${place} (${names.join(", ")}): ${day(endsAt)}`).join(", "),
    );
}

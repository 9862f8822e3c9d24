import { type Caller, countedId } from "../exchange/caller.ts";
import { Halves } from "../values/halves.ts";
import type { KeyRegistry } from "./registry.ts";

type Metadata = Readonly<Record<string, unknown>>;

export interface KnownMetadataDeps {
  readonly registry: KeyRegistry;
  /** Read what is kept with a key and with a consumer from the database; `null`: nothing is. */
  readonly ofKey: (id: string) => Metadata | null;
  readonly ofConsumer: (id: string) => Metadata | null;
}

/** The keys and consumers whose metadata is remembered. One may have 16 KB, and hardly has one. */
const MAX_KNOWN = 10_000;

/** Remembers the metadata of callers that are asked for: the registry has none of it, and the database would be asked each time. */
export class KnownMetadata {
  /** By keys, of which one that is changed is another object in the registry; of callers without a key by their consumers' ids. */
  private readonly known = new Halves<Caller | string, Metadata | null>(MAX_KNOWN);
  private changes = -1;

  constructor(private readonly deps: KnownMetadataDeps) {}

  /**
   * Gives what is kept with the caller's key; where nothing is, with the key from which its holder made it; where nothing is there either, or
   * there is no key, with the record of its consumer.
   */
  of(caller: Caller): Metadata | null {
    const { registry, ofKey, ofConsumer } = this.deps;
    const { via, id, consumer } = caller;
    if (via === "none") return null;
    if (registry.changes !== this.changes) {
      this.changes = registry.changes;
      this.known.clear();
    }
    const by = via === "key" ? caller : consumer.id;
    const known = this.known.get(by);
    if (known !== undefined) return known;
    const read = (via === "key" ? (ofKey(id) ?? this.ofOrigin(caller)) : null) ?? ofConsumer(consumer.id);
    this.known.set(by, read);
    return read;
  }

  /** Gives what is kept with the key from which a caller's was made: made keys are treated as that one is, by plug-ins as well. */
  private ofOrigin(caller: Caller): Metadata | null {
    const origin = countedId(caller);
    return origin === caller.id ? null : this.deps.ofKey(origin);
  }
}

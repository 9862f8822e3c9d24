import { Halves } from "../values/halves.ts";
import type { KeyEntry, KeyRegistry } from "./registry.ts";

type Metadata = Readonly<Record<string, unknown>>;

export interface KnownMetadataDeps {
  readonly registry: KeyRegistry;
  /** Read what is kept with a key and with a consumer from the database; `null`: nothing is. */
  readonly ofKey: (id: string) => Metadata | null;
  readonly ofConsumer: (id: string) => Metadata | null;
}

/** The keys whose metadata is remembered. A key's may have 16 KB, and hardly has one. */
const MAX_KNOWN = 10_000;

/** Remembers the metadata of the keys that are asked for: the registry has none of it, and the database would be asked each time. */
export class KnownMetadata {
  /** A key that is changed is another object in the registry. */
  private readonly known = new Halves<KeyEntry, Metadata | null>(MAX_KNOWN);
  private changes = -1;

  constructor(private readonly deps: KnownMetadataDeps) {}

  /** Gives what is kept with the key; where nothing is, with its consumer. */
  of(key: KeyEntry): Metadata | null {
    const { registry, ofKey, ofConsumer } = this.deps;
    if (registry.changes !== this.changes) {
      this.changes = registry.changes;
      this.known.clear();
    }
    const known = this.known.get(key);
    if (known !== undefined) return known;
    const read = ofKey(key.id) ?? ofConsumer(key.consumer.id);
    this.known.set(key, read);
    return read;
  }
}

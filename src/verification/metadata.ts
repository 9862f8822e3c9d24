import type { KeyEntry, KeyRegistry } from "../keys/registry.ts";

type Metadata = Readonly<Record<string, unknown>>;

export interface KnownMetadataDeps {
  readonly registry: KeyRegistry;
  /** Read what is kept with a key and with a consumer from the database; `null`: nothing is. */
  readonly ofKey: (id: string) => Metadata | null;
  readonly ofConsumer: (id: string) => Metadata | null;
}

/**
 * The keys whose metadata is remembered, in each of two halves: when the younger one is full, the older one is forgotten. A key's may have
 * 16 KB, and hardly has one.
 */
const MAX_KNOWN = 5000;

/** Remembers the metadata of the keys that are asked for: the registry has none of it, and the database would be asked each time. */
export class KnownMetadata {
  /** A key that is changed is another object in the registry. */
  private lately = new Map<KeyEntry, Metadata | null>();
  private before = new Map<KeyEntry, Metadata | null>();
  private changes = -1;

  constructor(private readonly deps: KnownMetadataDeps) {}

  /** Gives what is kept with the key; where nothing is, with its consumer. */
  of(key: KeyEntry): Metadata | null {
    const { registry, ofKey, ofConsumer } = this.deps;
    if (registry.changes !== this.changes) {
      this.changes = registry.changes;
      this.lately.clear();
      this.before.clear();
    }
    const known = this.lately.get(key) ?? this.before.get(key);
    if (known !== undefined) return known;
    const read = ofKey(key.id) ?? ofConsumer(key.consumer.id);
    if (this.lately.size >= MAX_KNOWN) {
      this.before = this.lately;
      this.lately = new Map();
    }
    this.lately.set(key, read);
    return read;
  }
}

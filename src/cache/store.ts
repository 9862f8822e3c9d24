import type { Freshness } from "./policy.ts";

/** Holds one kept response. */
export interface Entry {
  /** The request's fields that chose it, by name, and their values. */
  readonly vary: readonly string[];
  readonly varied: readonly string[];
  readonly status: number;
  readonly reason: string;
  /** What was kept of its header fields, as lines: what a revalidation updates. */
  readonly lines: string;
  /** Those of an answer, which rules may have made fewer, and those of a 304. */
  readonly head: string;
  readonly notModifiedHead: string;
  /** `null` for what was kept of a HEAD. */
  readonly body: Uint8Array | null;
  /** What a HEAD states as Content-Length, or -1. */
  readonly length: number;
  readonly etag: string | null;
  readonly lastModified: string | null;
  readonly date: string | null;
  readonly freshness: Freshness;
  /** Milliseconds since 1970, on a clock that never runs backwards. */
  readonly arrivedAt: number;
}

/** Holds all kept responses of one URI: one for each combination of the request's fields that Vary names. */
interface Slot {
  readonly route: string;
  readonly path: string;
  readonly key: string;
  /** The URI, where there are several keys for it; otherwise `null`. */
  readonly uri: string | null;
  readonly entries: Entry[];
  size: number;
  newer: Slot | null;
  older: Slot | null;
}

export interface CacheStats {
  entries: number;
  /** Bytes. */
  size: number;
  evicted: number;
}

/** What one entry costs beside its body and head, roughly. */
const OVERHEAD = 512;
/** Representations of one URI; beyond it the oldest goes. */
const MAX_VARIANTS = 64;

/** Keeps responses in memory, bounded in bytes; the least recently used goes first. */
export class CacheStore {
  readonly stats: CacheStats = { entries: 0, size: 0, evicted: 0 };
  private readonly slots = new Map<string, Slot>();
  /** The keys of URIs that have several, such as one for each consumer. */
  private readonly keysOf = new Map<string, Set<string>>();
  // A list by use. A Map's own order would do, but to find its first key costs more with each one that was taken out before it.
  private newest: Slot | null = null;
  private oldest: Slot | null = null;

  /** Takes `maxSize` in bytes. */
  constructor(public maxSize: number) {}

  /** Gives the entry under `key` that `valueFor` (a request's field by lower-case name) chooses. */
  find(key: string, valueFor: (name: string) => string): Entry | null {
    const slot = this.slots.get(key);
    if (slot === undefined) return null;
    const { entries } = slot;
    // The newest first: RFC 9111 §4.1 wants the most recent of several.
    for (let i = entries.length - 1; i >= 0; i--) {
      const entry = entries[i] as Entry;
      if (!matches(entry, valueFor)) continue;
      this.touch(slot);
      return entry;
    }
    return null;
  }

  /** Gives the field names that the newest response under `key` varied by; `null` when there is none. */
  varyOf(key: string): readonly string[] | null {
    return this.slots.get(key)?.entries.at(-1)?.vary ?? null;
  }

  /** Keeps an entry, in the place of the one that the same request would find. `uri`: what `removeUri` forgets it by, beside its key. */
  put(key: string, route: string, path: string, entry: Entry, uri: string | null = null): void {
    const size = sizeOf(entry);
    if (size > this.maxSize) return;
    let slot = this.slots.get(key);
    if (slot === undefined) {
      slot = { route, path, key, uri, entries: [], size: 2 * (key.length + (uri?.length ?? 0)), newer: null, older: null };
      this.slots.set(key, slot);
      if (uri !== null) {
        const keys = this.keysOf.get(uri);
        if (keys === undefined) this.keysOf.set(uri, new Set([key]));
        else keys.add(key);
      }
      this.stats.size += slot.size;
      this.link(slot);
    } else this.touch(slot);
    const same = slot.entries.findIndex((each) => isSameVariant(each, entry));
    if (same >= 0) this.drop(slot, same);
    if (slot.entries.length >= MAX_VARIANTS) this.drop(slot, 0);
    slot.entries.push(entry);
    slot.size += size;
    this.stats.size += size;
    this.stats.entries++;
    this.shrink();
  }

  /** Forgets one entry. */
  remove(key: string, entry: Entry): void {
    const slot = this.slots.get(key);
    const at = slot?.entries.indexOf(entry) ?? -1;
    if (slot === undefined || at < 0) return;
    this.drop(slot, at);
    if (slot.entries.length === 0) this.removeAll(key);
  }

  /** Forgets all of one URI. Gives how many entries that were. */
  removeAll(key: string): number {
    const slot = this.slots.get(key);
    if (slot === undefined) return 0;
    this.slots.delete(key);
    this.unlink(slot);
    if (slot.uri !== null) {
      const keys = this.keysOf.get(slot.uri);
      keys?.delete(key);
      if (keys?.size === 0) this.keysOf.delete(slot.uri);
    }
    this.stats.size -= slot.size;
    this.stats.entries -= slot.entries.length;
    return slot.entries.length;
  }

  /** Forgets all that was put for a URI, under whatever keys. Gives how many entries that were. */
  removeUri(uri: string): number {
    let removed = 0;
    for (const key of [...(this.keysOf.get(uri) ?? [])]) removed += this.removeAll(key);
    return removed;
  }

  /** Forgets what `isMeant`. Gives how many entries that were. */
  purge(isMeant: (route: string, path: string) => boolean): number {
    let purged = 0;
    for (const [key, { route, path }] of this.slots) if (isMeant(route, path)) purged += this.removeAll(key);
    return purged;
  }

  resize(maxSize: number): void {
    this.maxSize = maxSize;
    this.shrink();
  }

  private shrink(): void {
    while (this.stats.size > this.maxSize && this.oldest !== null) this.stats.evicted += this.removeAll(this.oldest.key);
  }

  private touch(slot: Slot): void {
    if (slot === this.newest) return;
    this.unlink(slot);
    this.link(slot);
  }

  private link(slot: Slot): void {
    slot.older = this.newest;
    slot.newer = null;
    if (this.newest !== null) this.newest.newer = slot;
    this.newest = slot;
    this.oldest ??= slot;
  }

  private unlink(slot: Slot): void {
    if (slot.newer === null) this.newest = slot.older;
    else slot.newer.older = slot.older;
    if (slot.older === null) this.oldest = slot.newer;
    else slot.older.newer = slot.newer;
  }

  private drop(slot: Slot, at: number): void {
    const [entry] = slot.entries.splice(at, 1);
    if (entry === undefined) return;
    slot.size -= sizeOf(entry);
    this.stats.size -= sizeOf(entry);
    this.stats.entries--;
  }
}

/** Gives the bytes that an entry takes. What Vary named may be as long as a request's head may be: it counts like all that is kept. */
function sizeOf({ lines, head, body, vary, varied }: Entry): number {
  let size = OVERHEAD + 4 * head.length + (lines === head ? 0 : lines.length) + (body?.length ?? 0);
  for (let i = 0; i < vary.length; i++) size += 2 * ((vary[i] as string).length + (varied[i] as string).length);
  return size;
}

function matches({ vary, varied }: Entry, valueFor: (name: string) => string): boolean {
  for (let i = 0; i < vary.length; i++) if (valueFor(vary[i] as string) !== varied[i]) return false;
  return true;
}

const isSameVariant = (a: Entry, b: Entry): boolean =>
  a.vary.length === b.vary.length && a.vary.every((name, i) => name === b.vary[i] && a.varied[i] === b.varied[i]);

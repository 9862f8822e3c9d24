import { FFIType, ptr } from "bun:ffi";
import { SQLiteError } from "bun:sqlite";
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  type Stats,
  statfsSync,
  writeSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { type Lock, lockAlone, lockShared } from "../storage/lock.ts";
import { openLibc } from "../values/libc.ts";
import { bytesFor, HEADER, LAYOUT, MAGIC, SLAB_BYTES, slotsFor, slotsIn } from "./layout.ts";
import { buryDead, declareDead, letId, listWorkers, type Ticket, takeId } from "./members.ts";
import { type Memory, memoryOf } from "./memory.ts";
import { bootId, pidNamespace } from "./processes.ts";

/** Says how much a region has room for. */
export interface RegionSize {
  /** The subjects that surely have room. */
  readonly maxSubjects: number;
}

/** Holds the table's memory: a file that several processes map, or memory of this process alone. Close it when the table is no more used. */
export interface Region {
  readonly memory: Memory;
  /** The file; `null`: private memory. */
  readonly path: string | null;
  /** Why the memory is private although a path was given, for people; `null` where it is as it was asked for. */
  readonly why: string | null;
  /** Why the file that was there was not used and a new one made, for people; `null` where none was there, or it was joined. */
  readonly anew: string | null;
  /** True when the file was there and was joined, with what was counted in it. */
  readonly isJoined: boolean;
  /** Lets an id to a worker, which joins by it; `null` when all 254 are taken. Waits for others who do so at the same time. */
  letWorker(): Ticket | null;
  /** Lets an id to this process itself and takes it: for the lone process, and for whoever else uses the table without a supervisor. */
  becomeWorker(): Ticket | null;
  /** Declares a worker dead whose end is certain, and frees what it held. False: it was declared before, or never let. */
  declareDead(worker: Ticket): boolean;
  /** Declares those workers dead whose processes are gone, and returns how many; for a timer, where no parent is told. */
  buryDead(): number;
  /** Lists the workers that live, or are about to, with their processes. */
  workers(): ReturnType<typeof listWorkers>;
  /** Gives a slab of chunks that was added, mapped when it is first asked for; `null`: it can't be mapped. */
  slab(index: number): Memory | null;
  /** Makes the slab of this index, under the table's slab lock. False: there is no room for it. */
  addSlab(index: number): boolean;
  close(): void;
}

/** Milliseconds for which the lock of the region is waited for: others hold it for a few. */
const PATIENCE = 5000;
/** The most bytes that are written at a time. */
const BATCH = 1 << 20;

/** Gives the path of a slab. The table's seed is in it, so that no other table's is ever taken for it. */
const slabPathOf = (path: string, { i32 }: Memory, index: number): string =>
  `${path}.${((i32[HEADER.seed] ?? 0) >>> 0).toString(16).padStart(8, "0")}.${index}`;

const openingLockOf = (path: string): string => `${path}.lock`;
/** Whoever uses the file shares this one, so that the last who does is known however it ends. */
const usingLockOf = (path: string): string => `${path}.used`;

/**
 * Opens the region at a path as its owner, a supervisor or a lone process: joins a file that is whole and of this layout, size, boot and
 * PID namespace, else makes a new one in its place. A file of others is never believed nor changed. `null`, or a file that can't be had: private
 * memory, and `why` says why.
 */
export function openRegion(path: string | null, size: RegionSize): Region {
  const slots = slotsFor(size.maxSubjects);
  if (path === null) return privateRegion(slots, null);
  try {
    const network = networkOf(dirname(path));
    if (network !== null) return privateRegion(slots, `${dirname(path)} is on ${network}, where processes can't share memory`);
    using opening = lockAlone(openingLockOf(path), PATIENCE);
    if (opening === null) return privateRegion(slots, `another process holds ${openingLockOf(path)}`);
    // Nobody else uses the file, however the last one ended, if its lock is free. Who wants to join meanwhile waits.
    const free = lockAlone(usingLockOf(path), 0);
    let memory: Memory;
    let anew: string | null = null;
    let isJoined = false;
    try {
      const found = mapIfWhole(path, slots, free !== null);
      if (found === FOREIGN && free === null) return privateRegion(slots, `a process in another container uses ${path}`);
      // Where the system has no boot id, a file is only surely of this boot while somebody uses it.
      const isOld = found !== null && typeof found !== "string" && free !== null && bootId().every((word) => word === 0);
      isJoined = found !== null && typeof found !== "string" && !isOld;
      memory = isJoined ? (found as Memory) : create(path, slots);
      anew = isOld ? OLD : typeof found === "string" ? found : null;
      widen(memory);
      if (isJoined) buryDead(memory.i32, free !== null);
      // A container that was started again has another namespace, and nobody of the one before can be left.
      if (free !== null) settleIn(memory.i32);
      if (free !== null) removeOthers(path, memory);
    } finally {
      free?.close();
    }
    const used = lockShared(usingLockOf(path), PATIENCE);
    return used === null
      ? privateRegion(slots, `another process holds ${usingLockOf(path)}`)
      : new FileRegion(path, memory, isJoined, anew, used);
  } catch (error) {
    return privateRegion(slots, reasonOf(error, path));
  }
}

/**
 * Joins the region at a path as a worker, with the ticket that its supervisor had from `letWorker`. Throws when the file is not the one of
 * the ticket, or the id was taken back: then the process is not wanted any more.
 */
export function joinRegion(path: string, ticket: Ticket): Region {
  const used = lockShared(usingLockOf(path), PATIENCE);
  if (used === null) throw new Error(`The table ${path} can't be joined: another process holds ${usingLockOf(path)}.`);
  try {
    const found = mapIfWhole(path, null);
    if (found === null || typeof found === "string") throw new Error(`The table ${path} can't be joined: ${found ?? "it is not there"}.`);
    if (!takeId(found.i32, ticket)) throw new Error(`The table ${path} has no place for worker ${ticket.worker} any more.`);
    return new FileRegion(path, found, true, null, used);
  } catch (error) {
    used.close();
    throw error;
  }
}

class FileRegion implements Region {
  readonly why = null;
  private readonly slabs: Memory[] = [];

  constructor(
    readonly path: string,
    private readonly table: Memory,
    readonly isJoined: boolean,
    readonly anew: string | null,
    private readonly used: Lock,
  ) {}

  /** As much of it as is in use by now. */
  get memory(): Memory {
    widen(this.table);
    return this.table;
  }

  letWorker(): Ticket | null {
    using opening = lockAlone(openingLockOf(this.path), PATIENCE);
    return opening === null ? null : letId(this.memory.i32);
  }

  becomeWorker(): Ticket | null {
    const ticket = this.letWorker();
    return ticket !== null && takeId(this.memory.i32, ticket) ? ticket : null;
  }

  declareDead({ worker, generation }: Ticket): boolean {
    return declareDead(this.memory.i32, worker, generation);
  }

  buryDead(): number {
    return buryDead(this.memory.i32, false);
  }

  workers(): ReturnType<typeof listWorkers> {
    return listWorkers(this.memory.i32);
  }

  slab(index: number): Memory | null {
    return this.slabs[index] ?? this.mapSlab(index);
  }

  addSlab(index: number): boolean {
    try {
      // What a process that was killed here has left is nobody's.
      const slab = createFile(slabPathOf(this.path, this.memory, index), SLAB_BYTES, SLAB_BYTES, () => {});
      slab.settle();
      this.slabs[index] = slab;
      return true;
    } catch {
      return false;
    }
  }

  close(): void {
    this.table.settle();
    this.used.close();
  }

  private mapSlab(index: number): Memory | null {
    const path = slabPathOf(this.path, this.memory, index);
    const found = openOwn(path, SLAB_BYTES);
    if (found === null || typeof found === "string") return null;
    const slab = mapFile(found.file, path, SLAB_BYTES);
    slab.settle();
    this.slabs[index] = slab;
    return slab;
  }
}

/** Widens the view of a table to the levels that are in use. */
function widen(memory: Memory): void {
  const { i32 } = memory;
  memory.widen(bytesFor(slotsIn(Math.max(1, Atomics.load(i32, HEADER.levels)), i32[HEADER.slots] ?? 0)));
}

function privateRegion(slots: number, why: string | null): Region {
  const memory = privateMemory(bytesFor(slots));
  const slabs: Memory[] = [];
  writeHeader(memory.i32, slots);
  const letOne = (): Ticket | null => {
    widen(memory);
    return letId(memory.i32);
  };
  return {
    memory,
    path: null,
    why,
    anew: null,
    isJoined: false,
    letWorker: letOne,
    becomeWorker: () => {
      const ticket = letOne();
      return ticket !== null && takeId(memory.i32, ticket) ? ticket : null;
    },
    declareDead: ({ worker, generation }) => {
      widen(memory);
      return declareDead(memory.i32, worker, generation);
    },
    buryDead: () => 0,
    workers: () => listWorkers(memory.i32),
    slab: (index) => slabs[index] ?? null,
    addSlab: (index) => {
      const all = new Uint8Array(SLAB_BYTES);
      slabs[index] = memoryOf(SLAB_BYTES, () => all);
      return true;
    },
    close: () => {},
  };
}

/**
 * Makes memory of this process alone, which the system zeroes page by page as it is touched: a file without a name where there are such,
 * as it can be viewed in part.
 */
function privateMemory(size: number): Memory {
  libc ??= open();
  const file = existsSync("/proc/self/fd") ? (libc?.memfd_create(ptr(new TextEncoder().encode("sluice\0")), 1) ?? -1) : -1;
  if (file >= 0) {
    try {
      ftruncateSync(file, size);
      return mapFile(file, "the private table", FIRST_VIEW);
    } catch {
      closeSync(file);
    }
  }
  const all = new Uint8Array(size);
  return memoryOf(size, () => all);
}

const FOREIGN = "it belongs to another container";
const OLD = "it may be from before the system was started";

/** The bytes that are viewed first. */
const FIRST_VIEW = bytesFor(0);

/** Maps a table that is whole and ours; `null`: there is none. A text says what is wrong with it. `slots`: as many as it must have. */
function mapIfWhole(path: string, slots: number | null, isFree = false): Memory | string | null {
  const found = openOwn(path, slots === null ? null : bytesFor(slots));
  if (found === null || typeof found === "string") return found;
  const memory = mapFile(found.file, path, HAS_PROC ? FIRST_VIEW : found.size);
  const fault = faultOf(memory.i32, found.size, slots, isFree);
  if (fault === null) {
    widen(memory);
    return memory;
  }
  memory.settle();
  return fault;
}

/** Opens a file of this user alone; `null`: there is none. A text says what is wrong with it. `size`: the bytes that it must have. */
function openOwn(path: string, size: number | null): { readonly file: number; readonly size: number } | string | null {
  let file: number;
  try {
    file = openSync(path, constants.O_RDWR | constants.O_NOFOLLOW);
  } catch (error) {
    const code = (error as { code?: string }).code;
    return code === "ENOENT" ? null : code === "ELOOP" ? "it is a symbolic link" : `it can't be opened (${code})`;
  }
  const fault = faultOfFile(fstatSync(file), size);
  if (fault === null) return { file, size: fstatSync(file).size };
  closeSync(file);
  return fault;
}

function faultOfFile(stat: Stats, size: number | null): string | null {
  if (!stat.isFile()) return "it is not a file";
  if (process.getuid !== undefined && stat.uid !== process.getuid()) return "it belongs to another user";
  if ((stat.mode & 0o077) !== 0) return "other users may read or write it";
  // Behind the end of the file an access would end this process.
  const isWrong = size === null ? stat.size < bytesFor(0) : stat.size !== size;
  return isWrong ? "it has another size" : null;
}

const HAS_PROC = existsSync("/proc/self/fd");

/**
 * Maps the first bytes of an open file, which is closed when the memory is settled. On Linux that very file, whatever stands at its path by now;
 * elsewhere all of it must be mapped at once.
 */
function mapFile(file: number, path: string, size: number): Memory {
  const map = (bytes: number): Uint8Array => {
    const mapped = Bun.mmap(HAS_PROC ? `/proc/self/fd/${file}` : path, { shared: true, size: bytes });
    if (mapped.byteLength !== bytes) throw new Error(`${path} has another size than a moment ago`);
    return mapped;
  };
  return memoryOf(size, map, () => closeSync(file));
}

function faultOf(i32: Int32Array, size: number, slots: number | null, isFree: boolean): string | null {
  if (i32[HEADER.magic] !== MAGIC) return "it is not a table of limits";
  if (i32[HEADER.layout] !== LAYOUT) return `it has layout ${i32[HEADER.layout]}, not ${LAYOUT}`;
  if (i32[HEADER.checksum] !== checksumOf(i32)) return "its header is damaged";
  if (bytesFor(i32[HEADER.slots] ?? 0) !== size || (slots !== null && i32[HEADER.slots] !== slots)) return "it has another number of slots";
  if (i32[HEADER.seed] === 0 && i32[HEADER.seed + 1] === 0) return "it has no seed";
  const boot = bootId();
  if (boot.some((word, k) => i32[HEADER.boot + k] !== word)) return "it is from before the system was started";
  // Process ids of another namespace say nothing: but when nobody uses the file, no process is left to be told apart.
  if (isFree) return null;
  const namespace = namespaceWords();
  if (i32[HEADER.namespace] !== namespace[0] || i32[HEADER.namespace + 1] !== namespace[1]) return FOREIGN;
  return null;
}

const namespaceWords = (): readonly [number, number] => {
  const inode = pidNamespace();
  return [inode | 0, Math.floor(inode / 2 ** 32) | 0];
};

/** Notes that the processes of this namespace use the table from here on. */
function settleIn(i32: Int32Array): void {
  i32.set(namespaceWords(), HEADER.namespace);
  i32[HEADER.checksum] = checksumOf(i32);
}

/** Sums up the header's fixed words. */
function checksumOf(i32: Int32Array): number {
  let sum = 0x81_1c_9d_c5 | 0;
  for (let k = 0; k < HEADER.checksum; k++) sum = Math.imul((sum ^ (i32[k] ?? 0)) + (sum >>> 15), 0x01_00_01_93);
  return sum;
}

function writeHeader(i32: Int32Array, slots: number): void {
  const random = crypto.getRandomValues(new Int32Array(2));
  i32[HEADER.magic] = MAGIC;
  i32[HEADER.layout] = LAYOUT;
  i32[HEADER.slots] = slots;
  i32[HEADER.levels] = 1;
  i32.set(random[0] === 0 && random[1] === 0 ? [1, 1] : random, HEADER.seed);
  i32.set(bootId(), HEADER.boot);
  i32.set(namespaceWords(), HEADER.namespace);
  i32[HEADER.checksum] = checksumOf(i32);
}

const create = (path: string, slots: number): Memory =>
  createFile(path, bytesFor(slots), HAS_PROC ? FIRST_VIEW : bytesFor(slots), ({ i32 }) => writeHeader(i32, slots));

/** Removes the slabs of tables that stood at the path before, and what processes that were killed have left half made. */
function removeOthers(path: string, memory: Memory): void {
  const others = /^\.(?:[0-9a-f]{8}\.\d+|(?:[0-9a-f]{8}\.\d+\.)?\d+\.new)$/;
  const [folder, file, own] = [dirname(path), basename(path), basename(slabPathOf(path, memory, 0)).slice(0, -1)];
  for (const name of readdirSync(folder))
    if (name.startsWith(file) && others.test(name.slice(file.length)) && (!name.startsWith(own) || name.endsWith(".new")))
      rmSync(join(folder, name), { force: true });
}

/**
 * Makes a file of so many zero bytes, all of which really have room on the disk, lets `fill` write into it, and puts it at the path, over
 * what was there. Throws when there is no room. Gives a view of the first `view` bytes.
 */
function createFile(path: string, size: number, view: number, fill: (memory: Memory) => void): Memory {
  const temporary = `${path}.${process.pid}.new`;
  rmSync(temporary, { force: true });
  const file = openSync(temporary, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600);
  try {
    allocate(file, dirname(path), size);
    const memory = mapFile(file, temporary, view);
    fill(memory);
    renameSync(temporary, path);
    return memory;
  } catch (error) {
    rmSync(temporary, { force: true });
    closeSync(file);
    throw error;
  }
}

/** The magic numbers of file systems that allocate when they are asked to: ext4, XFS, Btrfs, tmpfs, and overlays, which pass it on. */
const ALLOCATING = new Set([0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x794c_7630]);

/** Those whose files processes can't share as memory, or not surely: networks', and FUSE's, whose server may be anything. */
const NETWORKS: ReadonlyMap<number, string> = new Map([
  [0x6969, "NFS"],
  [0x517b, "SMB"],
  [0xfe53_4d42, "SMB"],
  [0xff53_4d42, "CIFS"],
  [0x6573_5546, "FUSE"],
  [0x0102_1997, "9P"],
  [0x00c3_6400, "Ceph"],
  [0x5346_414f, "AFS"],
  [0x7375_7245, "Coda"],
  [0x0bd0_0bd0, "Lustre"],
  [0x0116_1970, "GFS2"],
  [0x7461_636f, "OCFS2"],
]);

const magicOf = (folder: string): number => (process.platform === "linux" ? statfsSync(folder).type >>> 0 : 0);

/** Names the network's file system that a folder is on; `null`: it is on none. */
const networkOf = (folder: string): string | null => NETWORKS.get(magicOf(folder)) ?? null;

let libc: ReturnType<typeof open> | undefined;
const open = () =>
  openLibc({
    posix_fallocate: { args: [FFIType.i32, FFIType.i64, FFIType.i64], returns: FFIType.i32 },
    memfd_create: { args: [FFIType.ptr, FFIType.u32], returns: FFIType.i32 },
  });

const ENOSPC = 28;

/**
 * Gives a new file its size, with room on the disk for all of it: an access to a hole that finds the disk full would end this process
 * (SIGBUS). Throws when there is no room.
 */
function allocate(file: number, folder: string, size: number): void {
  if (ALLOCATING.has(magicOf(folder))) {
    libc ??= open();
    const code = libc?.posix_fallocate(file, 0, size);
    if (code === 0) return;
    if (code === ENOSPC) throw Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
  }
  const zeros = new Uint8Array(Math.min(size, BATCH));
  for (let at = 0; at < size; ) at += writeSync(file, zeros, 0, Math.min(zeros.length, size - at), at);
}

function reasonOf(error: unknown, path: string): string {
  const { code, message } = error as { code?: string; message?: string };
  if (code === "ENOSPC" || code === "EDQUOT") return `the disk has no room for ${path}`;
  if (error instanceof SQLiteError) return `the lock beside ${path} can't be opened (${code})`;
  return `${path} can't be made (${code ?? message})`;
}

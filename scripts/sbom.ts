import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "jsonc-parser";
import { LEFT_OUT } from "./kafka-plugin.ts";
import { UNWANTED } from "./unwanted.ts";

/** What `bun.lock` holds of a package: its name and version, its registry, what it needs, and a hash of its archive. */
type Locked = readonly [
  id: string,
  registry: string,
  needs: { dependencies?: Record<string, string>; peerDependencies?: Record<string, string>; optionalPeers?: string[] },
  integrity: string,
];

interface Lock {
  readonly workspaces: Record<
    string,
    { readonly dependencies?: Record<string, string>; readonly devDependencies?: Record<string, string> }
  >;
  readonly packages: Record<string, Locked>;
}

interface Component {
  readonly type: string;
  readonly "bom-ref": string;
  readonly name: string;
  readonly group?: string;
  readonly version: string;
  readonly purl: string;
  readonly hashes?: readonly { readonly alg: string; readonly content: string }[];
  readonly licenses?: readonly object[];
}

/** Gives the bill of materials of the binary (CycloneDX 1.6): what it was made with at run time, from `bun.lock`; what only tests and the build need is not in it. `time`: in seconds since 1970. */
export function billOfMaterials(root: string, time: number): object {
  const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
    name: string;
    version: string;
    license: string;
    packageManager: string;
  };
  const lock = parse(readFileSync(join(root, "bun.lock"), "utf8"), [], { allowTrailingComma: true }) as Lock;
  const tools = Object.keys(lock.workspaces[""]?.devDependencies ?? {});
  const components = new Map<string, Component>();
  const needs = new Map<string, Set<string>>();
  /** The package that a name means to another: the one that is nested in it, or in what that is nested in, or the common one. */
  const resolve = (name: string, from: string): string | undefined => {
    for (let outer = from; outer !== ""; outer = outer.includes("/") ? outer.slice(0, outer.lastIndexOf("/")) : "")
      if (lock.packages[`${outer}/${name}`] !== undefined) return `${outer}/${name}`;
    return lock.packages[name] === undefined ? undefined : name;
  };
  const visit = (name: string, from: string): string | null => {
    const key = resolve(name, from);
    const locked = key === undefined ? undefined : lock.packages[key];
    // An optional package for another system, or what the build leaves out.
    if (key === undefined || locked === undefined || LEFT_OUT.includes(name) || UNWANTED.includes(name)) return null;
    const [id, , { dependencies = {}, peerDependencies = {}, optionalPeers = [] }, integrity] = locked;
    const at = id.lastIndexOf("@");
    const [full, version] = [id.slice(0, at), id.slice(at + 1)];
    const [scope, short] = full.startsWith("@") ? (full.split("/") as [string, string]) : [null, full];
    const ref = `pkg:npm/${full.replace("@", "%40")}@${version}`;
    if (components.has(ref)) return ref;
    const [algorithm, digest] = integrity?.split("-") ?? [];
    const license = licenseOf(join(root, "node_modules", ...(key.match(/(?:@[^/]+\/)?[^/]+/g) ?? []).join("/node_modules/").split("/")));
    components.set(ref, {
      type: "library",
      "bom-ref": ref,
      ...(scope === null ? {} : { group: scope }),
      name: short,
      version,
      purl: ref,
      ...(algorithm === "sha512" && digest !== undefined
        ? { hashes: [{ alg: "SHA-512", content: Buffer.from(digest, "base64").toString("hex") }] }
        : {}),
      ...(license === null ? {} : { licenses: [license] }),
    });
    needs.set(ref, new Set());
    const peers = Object.keys(peerDependencies).filter((peer) => !optionalPeers.includes(peer) && !tools.includes(peer));
    for (const other of [...Object.keys(dependencies), ...peers]) {
      const needed = visit(other, key);
      if (needed !== null) needs.get(ref)?.add(needed);
    }
    return ref;
  };
  const own = `pkg:generic/${manifest.name}@${manifest.version}`;
  const bunVersion = manifest.packageManager.split("@")[1] ?? "";
  const bun = `pkg:generic/bun@${bunVersion}`;
  const direct = Object.keys(lock.workspaces[""]?.dependencies ?? {}).flatMap((name) => visit(name, "") ?? []);
  components.set(bun, {
    type: "framework",
    "bom-ref": bun,
    name: "bun",
    version: bunVersion,
    purl: bun,
    licenses: [{ license: { id: "MIT" } }],
  });
  const refs = [...components.keys()].sort();
  return {
    $schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    version: 1,
    metadata: {
      timestamp: new Date(time * 1000).toISOString(),
      component: {
        type: "application",
        "bom-ref": own,
        name: manifest.name,
        version: manifest.version,
        purl: own,
        licenses: [{ license: { id: manifest.license } }],
      },
    },
    components: refs.map((ref) => components.get(ref)),
    dependencies: [
      { ref: own, dependsOn: [...direct, bun].sort() },
      ...refs.map((ref) => ({ ref, dependsOn: [...(needs.get(ref) ?? [])].sort() })),
    ],
  };
}

function licenseOf(folder: string): object | null {
  const file = join(folder, "package.json");
  if (!existsSync(file)) return null;
  const { license } = JSON.parse(readFileSync(file, "utf8")) as { license?: unknown };
  if (typeof license !== "string") return null;
  return /^[A-Za-z0-9.+-]+$/.test(license) ? { license: { id: license } } : { expression: license };
}

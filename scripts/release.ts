// Makes what a release consists of, in dist/release: an archive for each platform, an image (OCI), a bill of materials, what it takes to run it in containers, and SHA256SUMS. Publishes nothing.
// `bun run release`; `bun scripts/release.ts --only linux-x64 --binary dist/sluice --out DIR` takes a binary that is there already.
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import manifest from "../package.json";
import { type Entry, tar, zip } from "./archive.ts";
import { binaryFor, compile, RELEASED } from "./build.ts";
import { ociArchive } from "./image.ts";
import { billOfMaterials } from "./sbom.ts";

const ROOT = resolve(import.meta.dir, "..");
const option = (name: string): string | undefined => {
  const at = Bun.argv.indexOf(`--${name}`);
  return at < 0 ? undefined : Bun.argv[at + 1];
};
const only = option("only");
const binary = option("binary");
const out = resolve(option("out") ?? join(ROOT, "dist/release"));
const { version } = manifest;
/** Of all files: the commit's, so that the same commit makes the same archives. */
const time = Number(
  process.env.SOURCE_DATE_EPOCH ?? (`${Bun.spawnSync(["git", "log", "-1", "--format=%ct"], { cwd: ROOT }).stdout}`.trim() || 0),
);

const targets = RELEASED.filter((target) => only === undefined || target === only);
if (targets.length === 0) {
  console.error(`release: there is no ${only}; there are ${RELEASED.join(", ")}`);
  process.exit(2);
}
rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
const made: string[] = [];
const put = (name: string, bytes: Uint8Array | string): void => {
  writeFileSync(join(out, name), bytes);
  made.push(name);
  console.log(`${name}  ${(Buffer.byteLength(bytes) / 1e6).toFixed(1)} MB`);
};
const read = (path: string): Uint8Array => readFileSync(join(ROOT, path));

for (const target of targets) {
  const file = binary ?? binaryFor(target);
  if (binary === undefined) await compile(file, target);
  const isWindows = target.startsWith("windows");
  const folder = `sluice-${version}-${target}`;
  const entry = (path: string, from: string, mode = 0o644): Entry => ({ path: `${folder}/${path}`, bytes: read(from), mode });
  const entries: Entry[] = [
    { path: `${folder}/`, bytes: null, mode: 0o755 },
    { path: `${folder}/${isWindows ? "sluice.exe" : "sluice"}`, bytes: readFileSync(resolve(ROOT, file)), mode: 0o755 },
    entry("LICENSE", "LICENSE"),
    entry("README.md", "README.md"),
    entry("CHANGELOG.md", "CHANGELOG.md"),
    ...(target.startsWith("linux") ? [entry("sluice.service", "deploy/sluice.service")] : []),
  ];
  if (isWindows) put(`${folder}.zip`, zip(entries, time));
  else put(`${folder}.tar.gz`, gzipSync(tar(entries, time)));
}
// The image holds this machine's C library: it is made for this machine's processor alone, with glibc.
const host = `linux-${process.arch}`;
if (process.platform === "linux" && targets.includes(host) && existsSync(resolve(ROOT, binary ?? binaryFor(host))))
  put(
    `sluice-image-${host}.tar`,
    ociArchive({
      binary: resolve(ROOT, binary ?? binaryFor(host)),
      version,
      architecture: process.arch === "arm64" ? "arm64" : "amd64",
      time,
      license: read("LICENSE"),
    }),
  );
else console.log(`no image: it is made on linux, together with the archive for that machine (${host})`);
put(`sluice-${version}.cdx.json`, `${JSON.stringify(billOfMaterials(ROOT, time), null, 2)}\n`);
for (const name of ["Dockerfile", "compose.yaml"])
  put(name, `${readFileSync(join(ROOT, "deploy/release", name))}`.replaceAll("@VERSION@", version));
const sums = made.map((name) => `${new Bun.CryptoHasher("sha256").update(readFileSync(join(out, name))).digest("hex")}  ${name}\n`);
writeFileSync(join(out, "SHA256SUMS"), sums.join(""));
console.log(`SHA256SUMS  of ${made.length} files, in ${out}`);

import { existsSync, readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { type Entry, tar } from "./archive.ts";

/** The user in the image, as in Google's distroless images. */
const NOBODY = 65532;

const sha256 = (bytes: Uint8Array): string => new Bun.CryptoHasher("sha256").update(bytes).digest("hex");

/**
 * Gives an image as an archive of the OCI layout (`skopeo copy oci-archive:FILE …`, `podman load`, `docker load`): the binary, the C library that it is linked to, and nothing else: no shell, no package manager.
 * `time`: in seconds since 1970. Throws when a library can't be found on this machine.
 */
export function ociArchive(options: {
  binary: string;
  version: string;
  architecture: "amd64" | "arm64";
  time: number;
  license: Uint8Array;
}): Uint8Array {
  const { version, architecture, time } = options;
  const folders = [
    "data/",
    "etc/",
    "etc/sluice/",
    "tmp/",
    "usr/",
    "usr/local/",
    "usr/local/bin/",
    "usr/share/",
    "usr/share/doc/",
    "usr/share/doc/sluice/",
  ];
  const libraries = librariesOf(options.binary);
  const above = new Set(
    libraries.flatMap(({ path }) =>
      path
        .split("/")
        .slice(0, -1)
        .map((_, i, parts) => `${parts.slice(0, i + 1).join("/")}/`),
    ),
  );
  const text = (path: string, content: string): Entry => ({ path, bytes: Buffer.from(content), mode: 0o644 });
  const entries: Entry[] = [
    ...[...new Set([...folders, ...above])].sort().map((path): Entry => {
      if (path === "tmp/") return { path, bytes: null, mode: 0o1777 };
      return path === "data/" ? { path, bytes: null, mode: 0o700, owner: NOBODY } : { path, bytes: null, mode: 0o755 };
    }),
    text("etc/passwd", `root:x:0:0:root:/:/sbin/nologin\nnonroot:x:${NOBODY}:${NOBODY}:nonroot:/data:/sbin/nologin\n`),
    text("etc/group", `root:x:0:\nnonroot:x:${NOBODY}:\n`),
    text("etc/nsswitch.conf", "hosts: files dns\n"),
    { path: "usr/share/doc/sluice/LICENSE", bytes: options.license, mode: 0o644 },
    { path: "usr/local/bin/sluice", bytes: readFileSync(options.binary), mode: 0o755 },
    ...libraries,
  ];
  const plain = tar(entries, time);
  const layer = gzipSync(plain);
  const created = new Date(time * 1000).toISOString();
  const config = Buffer.from(
    JSON.stringify({
      created,
      architecture,
      os: "linux",
      config: {
        User: `${NOBODY}:${NOBODY}`,
        ExposedPorts: { "8080/tcp": {} },
        // Inside a container nobody reaches 127.0.0.1.
        Env: ["PATH=/usr/local/bin", "SLUICE_DATA=/data", "SLUICE_HOST=0.0.0.0"],
        Entrypoint: ["/usr/local/bin/sluice"],
        Cmd: ["serve"],
        Volumes: { "/data": {} },
        WorkingDir: "/etc/sluice",
        Labels: {
          "org.opencontainers.image.title": "sluice",
          "org.opencontainers.image.version": version,
          "org.opencontainers.image.licenses": "MIT",
        },
      },
      rootfs: { type: "layers", diff_ids: [`sha256:${sha256(plain)}`] },
      history: [{ created, created_by: "sluice, its C library, and nothing else" }],
    }),
  );
  const described = (mediaType: string, bytes: Uint8Array, more: object = {}) => ({
    mediaType,
    digest: `sha256:${sha256(bytes)}`,
    size: bytes.length,
    ...more,
  });
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: "application/vnd.oci.image.manifest.v1+json",
      config: described("application/vnd.oci.image.config.v1+json", config),
      layers: [described("application/vnd.oci.image.layer.v1.tar+gzip", layer)],
    }),
  );
  const index = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: "application/vnd.oci.image.index.v1+json",
      manifests: [
        described("application/vnd.oci.image.manifest.v1+json", manifest, {
          platform: { os: "linux", architecture },
          annotations: { "org.opencontainers.image.ref.name": version, "io.containerd.image.name": `docker.io/library/sluice:${version}` },
        }),
      ],
    }),
  );
  const name = (bytes: Uint8Array) => `blobs/sha256/${sha256(bytes)}`;
  const legacy = Buffer.from(
    JSON.stringify([{ Config: name(config), RepoTags: [`sluice:${version}`, "sluice:latest"], Layers: [name(layer)] }]),
  );
  const blob = (bytes: Uint8Array): Entry => ({ path: name(bytes), bytes, mode: 0o644 });
  return tar(
    [
      { path: "blobs/", bytes: null, mode: 0o755 },
      { path: "blobs/sha256/", bytes: null, mode: 0o755 },
      blob(config),
      blob(layer),
      blob(manifest),
      { path: "index.json", bytes: index, mode: 0o644 },
      // For a docker that does not read the OCI layout yet.
      { path: "manifest.json", bytes: legacy, mode: 0o644 },
      { path: "oci-layout", bytes: Buffer.from('{"imageLayoutVersion":"1.0.0"}'), mode: 0o644 },
    ],
    time,
  );
}

/** The shared libraries that a binary needs, and what looks up names for it, as they are on this machine: the C library alone. */
function librariesOf(binary: string): Entry[] {
  const { stdout, success } = Bun.spawnSync(["ldd", binary], { stdout: "pipe", stderr: "pipe" });
  if (!success) throw new Error(`ldd can't read ${binary}: it is not for this machine`);
  const paths = [...`${stdout}`.matchAll(/(?:=> )?(\/\S+) \(0x/g)].map((match) => match[1] ?? "");
  const [first = ""] = paths.filter((path) => /\/libc\.so/.test(path));
  // Opened by name when a host is looked up.
  const folder = first.slice(0, first.lastIndexOf("/"));
  const named = ["libresolv.so.2", "libnss_dns.so.2", "libnss_files.so.2"]
    .map((name) => `${folder}/${name}`)
    .filter((path) => existsSync(path));
  return [...new Set([...paths, ...named])].sort().map((path) => ({ path: path.slice(1), bytes: readFileSync(path), mode: 0o755 }));
}

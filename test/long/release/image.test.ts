import { expect } from "bun:test";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { folder, freePort } from "../../support/process.ts";
import { having } from "../../support/programs.ts";

const ROOT = resolve(import.meta.dir, "../../..");
const BINARY = resolve(ROOT, process.env.SLUICE_BINARY ?? "dist/sluice");

function run(args: string[], cwd: string): string {
  const { stdout, stderr, exitCode } = Bun.spawnSync(args, { cwd, stdout: "pipe", stderr: "pipe" });
  expect([args.join(" "), exitCode, exitCode === 0 ? "" : `${stderr}`]).toEqual([args.join(" "), 0, ""]);
  return `${stdout}`;
}

having("skopeo").test(
  "a release has the archives it says, and its image is a valid one that serves with nothing but its own files",
  async () => {
    using home = folder();
    const out = join(home.path, "release");
    const target = `linux-${process.arch}`;
    run([process.execPath, "scripts/release.ts", "--only", target, "--binary", BINARY, "--out", out], ROOT);
    const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { version: string };
    expect(readdirSync(out).sort()).toEqual(
      [
        "Dockerfile",
        "SHA256SUMS",
        "compose.yaml",
        `sluice-image-${target}.tar`,
        `sluice-${version}-${target}.tar.gz`,
        `sluice-${version}.cdx.json`,
      ].sort(),
    );
    run(["sha256sum", "--check", "--strict", "SHA256SUMS"], out);
    run(["tar", "-xzf", `sluice-${version}-${target}.tar.gz`], out);
    expect(run([`./sluice-${version}-${target}/sluice`, "--version"], out)).toBe(`sluice ${version}\n`);
    for (const name of ["Dockerfile", "compose.yaml"]) expect(readFileSync(join(out, name), "utf8")).not.toContain("@VERSION@");
    const compose = Bun.YAML.parse(readFileSync(join(out, "compose.yaml"), "utf8")) as { services: { sluice: { image: string } } };
    expect(compose.services.sluice.image).toBe(`sluice:${version}`);

    // skopeo reads each blob, and compares it with its digest.
    const archive = `oci-archive:sluice-image-${target}.tar`;
    run(["skopeo", "copy", "--insecure-policy", archive, "dir:copied"], out);
    const { config } = JSON.parse(run(["skopeo", "inspect", "--config", archive], out)) as {
      config: { User: string; Entrypoint: string[] };
    };
    expect(config).toMatchObject({ User: "65532:65532", Entrypoint: ["/usr/local/bin/sluice"] });
    const { layers } = JSON.parse(readFileSync(join(out, "copied/manifest.json"), "utf8")) as { layers: { digest: string }[] };
    expect(layers).toHaveLength(1);
    const root = join(out, "root");
    mkdirSync(root);
    run(["tar", "-xzf", join("../copied", layers[0]?.digest.slice("sha256:".length) ?? ""), "-C", root], root);
    expect(existsSync(join(root, "bin/sh"))).toBe(false);
    // Only root may change where / is; a program that is one file finds itself by /proc, which container runtimes provide.
    const isolated = ["/usr/bin/unshare", "--mount", "/bin/sh", "-c"];
    if (Bun.spawnSync([...isolated, "mount -t tmpfs none /mnt"]).exitCode !== 0) {
      console.log("the image was not started: this user may not change what / is");
      return;
    }
    chmodSync(home.path, 0o755);
    mkdirSync(join(root, "proc"));
    const port = freePort();
    const serve = `mount -t proc proc ${root}/proc && exec /usr/sbin/chroot --userspec=65532:65532 ${root} /usr/local/bin/sluice serve --port ${port}`;
    const child = Bun.spawn([...isolated, serve], {
      env: { SLUICE_DATA: "/data", SLUICE_HOST: "127.0.0.1" },
      stdout: "pipe",
      stderr: "pipe",
    });
    try {
      for (;;) {
        if (child.exitCode !== null) throw new Error(await new Response(child.stderr).text());
        const answer = await fetch(`http://127.0.0.1:${port}/proxy`).catch(() => null);
        if (answer?.status === 200) break;
        await Bun.sleep(20);
      }
    } finally {
      child.kill();
      await child.exited;
    }
  },
);

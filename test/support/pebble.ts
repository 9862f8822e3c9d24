import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "./process.ts";
import { CERTIFICATE, PRIVATE_KEY } from "./tls.ts";

/** Let's Encrypt's test authority, in a process of its own. */
export interface Pebble {
  /** The URL of its directory, whose certificate is CERTIFICATE of tls.ts. */
  readonly directory: string;
  /** The port at which it looks for challenges, of whatever name. */
  readonly httpPort: number;
  /** A file with the certificate by which the directory is checked. */
  readonly caFile: string;
  /** Gives the certificate by which what it has given is checked. */
  root(): Promise<string>;
  [Symbol.asyncDispose](): Promise<void>;
}

export interface PebbleOptions {
  /** The percentage of good nonces that it refuses. */
  readonly refusesNonces?: number;
  /** The most seconds that it waits before it looks; left out: none. */
  readonly sleeps?: number;
  /** The key of an account elsewhere that it wants: its identifier, and the key in base64url. */
  readonly binding?: { readonly kid: string; readonly hmacKey: string };
  /** Where it looks for challenges; left out: at a free port. */
  readonly httpPort?: number;
  /** The port of the directory; left out: a free one. */
  readonly port?: number;
}

/** Starts pebble, with a DNS server that leads all names to 127.0.0.1. It needs the programs `pebble` and `pebble-challtestsrv`. */
export async function pebble(options: PebbleOptions = {}): Promise<Pebble> {
  const folder = mkdtempSync(join(tmpdir(), "sluice-pebble-"));
  const [port, management, dns, dnsManagement] = [options.port ?? freePort(), freePort(), freePort(), freePort()];
  const httpPort = options.httpPort ?? freePort();
  const [certificate, privateKey] = [join(folder, "cert.pem"), join(folder, "key.pem")];
  writeFileSync(certificate, CERTIFICATE);
  writeFileSync(privateKey, PRIVATE_KEY);
  const { binding } = options;
  writeFileSync(
    join(folder, "pebble.json"),
    JSON.stringify({
      pebble: {
        ...{ listenAddress: `127.0.0.1:${port}`, managementListenAddress: `127.0.0.1:${management}`, certificate, privateKey },
        ...{ httpPort, tlsPort: freePort(), ocspResponderURL: "", externalAccountBindingRequired: binding !== undefined },
        externalAccountMACKeys: binding === undefined ? {} : { [binding.kid]: binding.hmacKey },
      },
    }),
  );
  const quiet = { stdout: "ignore", stderr: "ignore" } as const;
  const names = Bun.spawn(
    [
      ...["pebble-challtestsrv", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-dns01", `127.0.0.1:${dns}`],
      ...["-management", `127.0.0.1:${dnsManagement}`, "-http01", "", "-https01", "", "-tlsalpn01", ""],
    ],
    quiet,
  );
  const authority = Bun.spawn(["pebble", "-config", join(folder, "pebble.json"), "-dnsserver", `127.0.0.1:${dns}`], {
    ...quiet,
    env: {
      PEBBLE_WFE_NONCEREJECT: String(options.refusesNonces ?? 0),
      PEBBLE_AUTHZREUSE: "0",
      ...(options.sleeps === undefined ? { PEBBLE_VA_NOSLEEP: "1" } : { PEBBLE_VA_SLEEPTIME: String(options.sleeps) }),
    },
  });
  const ask = (url: string): Promise<Response> => fetch(url, { tls: { ca: CERTIFICATE }, keepalive: false });
  const directory = `https://127.0.0.1:${port}/dir`;
  const dispose = async (): Promise<void> => {
    authority.kill("SIGKILL");
    names.kill("SIGKILL");
    await Promise.all([authority.exited, names.exited]);
    rmSync(folder, { recursive: true, force: true });
  };
  for (;;) {
    if (authority.exitCode !== null || names.exitCode !== null) {
      await dispose();
      throw new Error("pebble has ended where it should have begun");
    }
    const isThere = await ask(directory).then(
      ({ ok }) => ok,
      () => false,
    );
    if (isThere) break;
    await Bun.sleep(20);
  }
  return {
    ...{ directory, httpPort, caFile: certificate },
    root: async () => (await ask(`https://127.0.0.1:${management}/roots/0`)).text(),
    [Symbol.asyncDispose]: dispose,
  };
}

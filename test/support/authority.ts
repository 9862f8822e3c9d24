import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type TLSSocket } from "node:tls";
import { CERTIFICATE } from "./tls.ts";

/** A certificate and its key, PEM. */
export interface Pair {
  readonly cert: string;
  readonly key: string;
}

export interface Wanted {
  /** As in "/O=Acme/CN=alice". */
  readonly subject?: string;
  /** Lines of OpenSSL's, such as "subjectAltName=DNS:alice.test". */
  readonly extensions?: readonly string[];
  /** As in "20260101000000Z". */
  readonly from?: string;
  readonly until?: string;
  /** The authority that signs; left out: this one. */
  readonly isAuthority?: boolean;
  /** "rsa:2048", "rsa-pss" (a key for RSA that signs so) or "ed25519"; left out: an elliptic curve. */
  readonly kind?: string;
}

export interface TestAuthority extends Pair {
  readonly sign: (wanted?: Wanted) => Pair;
  /** Makes another authority that this one has signed. */
  readonly authority: (subject: string, kind?: string) => TestAuthority;
  /** Gives a revocation list with all that was given to `revoke`. `until`: as in "20260101000000Z". */
  readonly list: (until?: string) => string;
  readonly revoke: (pair: Pair) => void;
}

/** The folders of a test's authorities. */
export interface Authorities {
  readonly authority: (subject: string, kind?: string) => TestAuthority;
  [Symbol.dispose](): void;
}

const KINDS: Readonly<Record<string, readonly string[]>> = {
  "rsa:2048": ["-newkey", "rsa:2048"],
  "rsa-pss": ["-newkey", "rsa:2048"],
  ed25519: ["-newkey", "ed25519"],
};
const EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];

/** Makes authorities of certificates by OpenSSL, each in a folder of its own. */
export function authorities(): Authorities {
  const folders: string[] = [];
  const folder = (): string => {
    const path = mkdtempSync(join(tmpdir(), "sluice-authority-"));
    folders.push(path);
    return path;
  };
  const made = (signed: (at: string, key: string) => string, kind = ""): TestAuthority => {
    const at = folder();
    const keyFile = join(at, "own.key");
    const cert = signed(at, keyFile);
    writeFileSync(join(at, "own.pem"), cert);
    return authorityIn(at, { cert, key: readFileSync(keyFile, "utf8") }, kind, made);
  };
  return {
    authority: (subject, kind) =>
      made((at, key) => {
        const out = join(at, "self.pem");
        openssl(
          "req",
          "-x509",
          ...(KINDS[kind ?? ""] ?? EC),
          "-nodes",
          "-utf8",
          "-days",
          "3650",
          "-subj",
          subject,
          "-keyout",
          key,
          "-out",
          out,
        );
        return readFileSync(out, "utf8");
      }, kind),
    [Symbol.dispose]: () => {
      for (const path of folders) rmSync(path, { recursive: true, force: true });
    },
  };
}

type Make = (signed: (at: string, key: string) => string, kind?: string) => TestAuthority;

function authorityIn(at: string, own: Pair, kind: string, make: Make): TestAuthority {
  const config = join(at, "ca.cnf");
  writeFileSync(join(at, "index.txt"), "");
  writeFileSync(join(at, "index.txt.attr"), "unique_subject = no\n");
  writeFileSync(join(at, "crlnumber"), "01\n");
  writeFileSync(
    config,
    `[ca]\ndefault_ca=own\n[own]\ndatabase=${at}/index.txt\ncrlnumber=${at}/crlnumber\nrand_serial=yes\nnew_certs_dir=${at}\ndefault_md=${kind === "ed25519" ? "default" : "sha256"}\ndefault_crl_days=30\npolicy=any\nunique_subject=no\nemail_in_dn=yes\n[any]\ncommonName=optional\norganizationName=optional\norganizationalUnitName=optional\ncountryName=optional\nemailAddress=optional\n`,
  );
  const ca = ["-config", config, "-batch", "-keyfile", join(at, "own.key"), "-cert", join(at, "own.pem")];
  const signing = kind === "rsa-pss" ? ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"] : [];
  let count = 0;
  const signInto = (
    keyFile: string,
    { subject = "/CN=alice", extensions = [], from, until, isAuthority, kind: wanted }: Wanted,
  ): string => {
    const name = join(at, `cert-${++count}`);
    openssl("req", ...(KINDS[wanted ?? ""] ?? EC), "-nodes", "-subj", subject, "-utf8", "-keyout", keyFile, "-out", `${name}.csr`);
    writeFileSync(
      `${name}.ext`,
      [`basicConstraints=${isAuthority === true ? "critical,CA:TRUE" : "CA:FALSE"}`, ...extensions, ""].join("\n"),
    );
    const dates = ["-startdate", from ?? "20200101000000Z", "-enddate", until ?? "21000101000000Z"];
    openssl(
      "ca",
      ...ca,
      ...signing,
      ...dates,
      "-extfile",
      `${name}.ext`,
      "-in",
      `${name}.csr`,
      "-notext",
      "-utf8",
      "-preserveDN",
      "-out",
      `${name}.pem`,
    );
    return readFileSync(`${name}.pem`, "utf8");
  };
  return {
    ...own,
    sign: (wanted = {}) => {
      const keyFile = join(at, `key-${count + 1}`);
      const cert = signInto(keyFile, wanted);
      return { cert, key: readFileSync(keyFile, "utf8") };
    },
    authority: (subject, its) =>
      make((_at, key) => signInto(key, { subject, isAuthority: true, ...(its === undefined ? {} : { kind: its }) }), its),
    revoke: ({ cert }) => {
      const file = join(at, "revoked.pem");
      writeFileSync(file, cert);
      openssl("ca", ...ca, "-revoke", file);
    },
    list: (until) => {
      const file = join(at, "list.pem");
      openssl(
        "ca",
        ...ca,
        "-gencrl",
        ...signing,
        ...(until === undefined ? [] : ["-crl_lastupdate", "20200101000000Z", "-crl_nextupdate", until]),
        "-out",
        file,
      );
      return readFileSync(file, "utf8");
    },
  };
}

function openssl(...args: readonly string[]): void {
  const { exitCode, stderr } = Bun.spawnSync(["openssl", ...args], { stdout: "ignore", stderr: "pipe" });
  if (exitCode !== 0) throw new Error(`openssl ${args.join(" ")}: ${stderr}`);
}

/** What a request over TLS got; a connection that was closed before has no status. */
export interface TlsAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly json: Record<string, unknown>;
  readonly isResumed: boolean;
}

/** A connection over TLS to a gateway with the certificate of test/support/tls.ts. */
export class TlsClient {
  private received = "";
  private isClosed = false;
  private wake: (() => void) | null = null;
  /** The last session that the server has offered. */
  session: Buffer | null = null;

  private constructor(private readonly socket: TLSSocket) {
    socket.on("session", (session: Buffer) => {
      this.session = session;
    });
    socket.on("data", (bytes: Buffer) => {
      this.received += bytes.toString("latin1");
      this.wake?.();
    });
    for (const event of ["close", "end", "error"] as const)
      socket.on(event, () => {
        this.isClosed = true;
        this.wake?.();
      });
  }

  /** Connects. Where the server refuses the handshake, what is asked then fails. */
  static open(
    port: number,
    pair: Pair | null,
    more: { session?: Buffer | null; version?: "TLSv1.2" | "TLSv1.3" } = {},
  ): Promise<TlsClient> {
    const { session = null, version } = more;
    return new Promise((resolve) => {
      const socket = connect({
        ...{ host: "127.0.0.1", servername: "localhost", port, ca: CERTIFICATE },
        ...(pair === null ? {} : pair),
        ...(session === null ? {} : { session }),
        ...(version === undefined ? {} : { minVersion: version, maxVersion: version }),
      });
      const client = new TlsClient(socket);
      socket.once("secureConnect", () => resolve(client));
      socket.once("error", () => resolve(client));
    });
  }

  /** Sends a request and gives its answer; with the status 0 where the connection was closed before there was one. */
  async ask(path: string, headers: Record<string, string> = {}): Promise<TlsAnswer> {
    const lines = Object.entries({ host: "localhost", ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
    this.received = "";
    if (!this.isClosed) this.socket.write(`GET ${path} HTTP/1.1\r\n${lines.join("")}\r\n`);
    for (;;) {
      const end = this.received.indexOf("\r\n\r\n");
      const head = this.received.slice(0, end).split("\r\n");
      const fields = Object.fromEntries(
        head.slice(1).map((line) => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 2)]),
      );
      const length = Number(fields["content-length"] ?? 0);
      if (end >= 0 && this.received.length >= end + 4 + length) {
        const body = this.received.slice(end + 4);
        const isResumed = this.socket.isSessionReused();
        return { status: Number(head[0]?.split(" ")[1]), headers: fields, json: body.startsWith("{") ? JSON.parse(body) : {}, isResumed };
      }
      if (this.isClosed) return { status: 0, headers: {}, json: {}, isResumed: false };
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }

  close(): void {
    this.socket.destroy();
  }
}

/** Asks once over a connection of its own. */
export async function askWith(port: number, pair: Pair | null, path: string, headers: Record<string, string> = {}): Promise<TlsAnswer> {
  const client = await TlsClient.open(port, pair);
  try {
    return await client.ask(path, headers);
  } finally {
    client.close();
  }
}

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";

/** A certificate and its key, PEM. */
export interface Certified {
  readonly cert: string;
  readonly key: string;
}

/** Runs OpenSSL in a folder that goes at once. Gives the files that it has written there. */
function openssl(
  commands: readonly (readonly string[])[],
  files: readonly string[],
  given: Readonly<Record<string, string>> = {},
): string[] {
  const folder = mkdtempSync(join(tmpdir(), "sluice-openssl-"));
  try {
    for (const [name, text] of Object.entries(given)) writeFileSync(join(folder, name), text);
    for (const command of commands) {
      const { exitCode, stderr } = Bun.spawnSync(["openssl", ...command], { cwd: folder });
      if (exitCode !== 0) throw new Error(`openssl ${command.join(" ")}: ${stderr}`);
    }
    return files.map((file) => readFileSync(join(folder, file), "utf8"));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
const namesOf = (names: readonly string[]): string[] =>
  names.length === 0 ? [] : ["-addext", `subjectAltName=${names.map((name) => `DNS:${name}`).join(",")}`];

/** Makes a certificate for names that nobody but itself has signed. `days`: how long it is valid, from now on. */
export function certified(names: readonly string[], days = 90, subject = `/CN=${names[0] ?? "nobody"}`): Certified {
  const [cert = "", key = ""] = openssl(
    [["req", "-x509", ...EC, "-subj", subject, ...namesOf(names), "-days", String(days), "-keyout", "key.pem", "-out", "cert.pem"]],
    ["cert.pem", "key.pem"],
  );
  return { cert, key };
}

/** Makes a certificate for names that an authority has signed. */
export function certifiedBy(authority: Certified, names: readonly string[]): Certified {
  const [cert = "", key = ""] = openssl(
    [
      [
        "req",
        "-x509",
        ...EC,
        "-subj",
        `/CN=${names[0]}`,
        ...namesOf(names),
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-keyout",
        "key.pem",
        "-out",
        "cert.pem",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
      ],
    ],
    ["cert.pem", "key.pem"],
    { "ca.pem": authority.cert, "ca.key": authority.key },
  );
  return { cert, key };
}

/** Gives a key in another form: with a password, or with the parameters of its curve before it. */
export function keyAs(form: "encrypted" | "old", key: string): string {
  const how =
    form === "encrypted"
      ? ["pkey", "-in", "key.pem", "-aes256", "-passout", "pass:secret", "-out", "out.pem"]
      : ["ec", "-in", "key.pem", "-out", "out.pem"];
  return openssl([how], ["out.pem"], { "key.pem": key })[0] ?? "";
}

/** Makes one handshake. Gives the common name of the certificate that was shown; rejects with why there was none. `name`: the name to ask for; `null`: none. */
export function shownBy(port: number, name: string | null, options: object = {}): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const socket = connect({
    host: "127.0.0.1",
    port,
    rejectUnauthorized: false,
    ...(name === null ? {} : { servername: name }),
    ...options,
  });
  socket.on("secureConnect", () => {
    resolve(socket.getPeerCertificate().subject.CN as string);
    socket.destroy();
  });
  socket.on("error", reject);
  socket.on("close", () => reject(new Error("closed before a handshake")));
  return promise;
}

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** A certificate in the folder, with its files and their texts. */
export interface Issued {
  readonly certFile: string;
  readonly keyFile: string;
  readonly cert: string;
  readonly key: string;
}

/** A certificate authority of a test's own, made by openssl. */
export interface Authority extends Issued {
  /** Issues a certificate: `names` as openssl writes them, such as `DNS:backend.internal`. */
  issue(name: string, names: string): Issued;
}

function openssl(cwd: string, ...args: string[]): void {
  const { exitCode, stderr } = Bun.spawnSync(["openssl", ...args], { cwd, stderr: "pipe" });
  if (exitCode !== 0) throw new Error(stderr.toString());
}

const NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

/** Makes an authority, whose files lie in `folder` under `name`. */
export function authority(folder: string, name = "ca"): Authority {
  const issued = (of: string): Issued => {
    const [certFile, keyFile] = [join(folder, `${of}.pem`), join(folder, `${of}.key`)];
    return { certFile, keyFile, cert: readFileSync(certFile, "utf8"), key: readFileSync(keyFile, "utf8") };
  };
  openssl(folder, "req", "-x509", ...NEW_KEY, "-keyout", `${name}.key`, "-out", `${name}.pem`, "-days", "3650", "-subj", `/CN=${name}`);
  return {
    ...issued(name),
    issue: (of, names) => {
      openssl(folder, "req", ...NEW_KEY, "-keyout", `${of}.key`, "-out", `${of}.csr`, "-subj", `/CN=${of}`);
      writeFileSync(join(folder, `${of}.ext`), `subjectAltName=${names}\n`);
      const signing = ["-CA", `${name}.pem`, "-CAkey", `${name}.key`, "-CAcreateserial", "-days", "3650", "-extfile", `${of}.ext`];
      openssl(folder, "x509", "-req", "-in", `${of}.csr`, ...signing, "-out", `${of}.pem`);
      return issued(of);
    },
  };
}

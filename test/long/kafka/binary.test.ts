import { expect } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { startKafka } from "../../support/kafka.ts";
import { having } from "../../support/programs.ts";
import { CERTIFICATE } from "../../support/tls.ts";

const { test } = having("java", "mvn");

const ROOT = resolve(import.meta.dir, "../../..");

test("a compiled program has the client of Kafka in it: it works with nothing else on the machine, and where it starts does not matter", async () => {
  await using broker = await startKafka({ users: { alice: "a-password-of-alice" }, isTls: true });
  const folder = mkdtempSync(join(tmpdir(), "sluice-kafka-binary-"));
  try {
    const program = join(folder, "program");
    // As scripts/build.ts compiles the gateway; another process, as a build within a test's may wait for itself.
    const build = Bun.spawnSync(
      [
        process.execPath,
        "-e",
        `import { compileProgram } from "./scripts/build.ts"; await compileProgram(["test/support/kafka-program.ts"], ${JSON.stringify(program)}, null);`,
      ],
      { cwd: ROOT, stdout: "pipe", stderr: "pipe" },
    );
    expect(`${build.stderr}`).toBe("");
    const ca = join(folder, "ca.pem");
    writeFileSync(ca, CERTIFICATE);
    const config = {
      brokers: [broker.secure],
      tls: { ca, cert: null, key: null, serverName: null },
      sasl: { mechanism: "scram-sha-512", username: "alice", password: "a-password-of-alice" },
      topic: "compiled",
      partitions: 2,
      group: "sluice",
    };
    const run = Bun.spawnSync([program, JSON.stringify(config)], { cwd: folder, env: { PATH: "" }, stdout: "pipe", stderr: "pipe" });
    expect(`${run.stdout}${run.stderr}`).toBe(
      'b:0 {"operation":"insert","table":"t","colNames":["n"],"colTypes":["INTEGER"],"colValues":[1]}\n',
    );
    expect(run.exitCode).toBe(0);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

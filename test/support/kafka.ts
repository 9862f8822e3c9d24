import { createPrivateKey } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "./process.ts";
import { CERTIFICATE, PRIVATE_KEY } from "./tls.ts";

const VERSION = "4.1.0";
/** One that Kafka's own libraries fit; it says on stderr what the broker does. */
const LOGGING = "1.7.36";

export interface KafkaOptions {
  /** Users and their passwords, who may sign in by PLAIN and SCRAM at a second listener, where everybody must. */
  readonly users?: Readonly<Record<string, string>>;
  /** The second listener speaks TLS, with the certificate of test/support/tls.ts. */
  readonly isTls?: boolean;
  /** Further settings, as in server.properties. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** A real broker of the test's own: one node, which is its own controller (KRaft). */
export interface KafkaBroker {
  /** Where it speaks without TLS and takes everybody: HOST:PORT. */
  readonly address: string;
  /** Where it speaks as `users` and `isTls` say. */
  readonly secure: string;
  /** Ends it as its operator would. */
  stop(): Promise<void>;
  /** Ends it at once, as a crash would. */
  kill(): Promise<void>;
  /** Stops what it does without ending it (SIGSTOP), and lets it go on (SIGCONT). */
  signal(signal: NodeJS.Signals): void;
  /** Starts it again after `stop` or `kill`, with the same data and ports. */
  start(): Promise<void>;
  /** What it has said. */
  log(): string;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Gives the folder with the broker's libraries. They are fetched by Maven once, and kept where the user's caches are. */
async function libraries(): Promise<string> {
  const cache = join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "sluice-tests");
  const target = join(cache, `kafka-${VERSION}`);
  if (existsSync(target)) return target;
  mkdirSync(cache, { recursive: true });
  const work = mkdtempSync(join(cache, "fetching-"));
  const dependency = (group: string, artifact: string, version: string): string =>
    `<dependency><groupId>${group}</groupId><artifactId>${artifact}</artifactId><version>${version}</version></dependency>`;
  writeFileSync(
    join(work, "pom.xml"),
    `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>sluice</groupId><artifactId>kafka-for-tests</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>${dependency("org.apache.kafka", "kafka_2.13", VERSION)}${dependency("org.slf4j", "slf4j-simple", LOGGING)}</dependencies></project>`,
  );
  const maven = Bun.spawn(["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib"], {
    cwd: work,
    stdout: "pipe",
    stderr: "inherit",
  });
  const said = await new Response(maven.stdout).text();
  if ((await maven.exited) !== 0) throw new Error(`Maven can't fetch Kafka:\n${said}`);
  try {
    renameSync(join(work, "lib"), target);
  } catch (error) {
    // Another test was faster.
    if (!existsSync(target)) throw error;
  }
  rmSync(work, { recursive: true, force: true });
  return target;
}

/** Says that the broker has ended where it should have begun. */
class Ended extends Error {}

/**
 * Starts a broker. Another program takes one of its free ports now and then: it is tried again then. Fails where there is no Java or Maven:
 * .ci/run installs them.
 */
export async function startKafka(options: KafkaOptions = {}): Promise<KafkaBroker> {
  const lib = await libraries();
  for (let left = 3; ; left--) {
    try {
      return await brokerAt(lib, options);
    } catch (error) {
      if (!(error instanceof Ended) || left === 1) throw error;
    }
  }
}

function settingsFor({ users, isTls, settings }: KafkaOptions, ports: readonly [number, number, number], folder: string): string {
  const [plain, secure, controller] = ports;
  const protocol = `${users === undefined ? "" : "SASL_"}${isTls ? "SSL" : "PLAINTEXT"}`;
  const at = "listener.name.secure";
  const lines: Record<string, string> = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.quorum.voters": `1@127.0.0.1:${controller}`,
    "controller.listener.names": "CONTROLLER",
    listeners: `PLAIN://127.0.0.1:${plain},SECURE://127.0.0.1:${secure},CONTROLLER://127.0.0.1:${controller}`,
    "advertised.listeners": `PLAIN://127.0.0.1:${plain},SECURE://127.0.0.1:${secure}`,
    "listener.security.protocol.map": `PLAIN:PLAINTEXT,SECURE:${protocol},CONTROLLER:PLAINTEXT`,
    "inter.broker.listener.name": "PLAIN",
    "log.dirs": join(folder, "data"),
    "auto.create.topics.enable": "false",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "2",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    // One that was killed is taken back as soon as its last session is over: nine seconds by default.
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "500",
    // The first of a group need not wait for others.
    "group.initial.rebalance.delay.ms": "0",
  };
  if (isTls) {
    const key = createPrivateKey(PRIVATE_KEY).export({ type: "pkcs8", format: "pem" });
    writeFileSync(join(folder, "broker.pem"), `${key}${CERTIFICATE}`);
    lines[`${at}.ssl.keystore.type`] = "PEM";
    lines[`${at}.ssl.keystore.location`] = join(folder, "broker.pem");
  }
  if (users !== undefined) {
    const known = Object.entries(users).map(([name, password]) => `user_${name}="${password}"`);
    const login = "org.apache.kafka.common.security";
    lines[`${at}.sasl.enabled.mechanisms`] = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512";
    lines[`${at}.plain.sasl.jaas.config`] = `${login}.plain.PlainLoginModule required ${known.join(" ")};`;
    lines[`${at}.scram-sha-256.sasl.jaas.config`] = `${login}.scram.ScramLoginModule required;`;
    lines[`${at}.scram-sha-512.sasl.jaas.config`] = `${login}.scram.ScramLoginModule required;`;
  }
  return Object.entries({ ...lines, ...settings })
    .map(([name, value]) => `${name}=${value}\n`)
    .join("");
}

/** It says on stderr that it has started, and what is wrong; it takes no more memory than a test has, and a third less time to start. */
const JAVA = [
  "java",
  "-Xmx384m",
  "-XX:+UseSerialGC",
  "-XX:TieredStopAtLevel=1",
  "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
  "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",
];

async function brokerAt(lib: string, options: KafkaOptions): Promise<KafkaBroker> {
  const folder = mkdtempSync(join(tmpdir(), "sluice-kafka-"));
  const ports: [number, number, number] = [freePort(), freePort(), freePort()];
  const file = join(folder, "server.properties");
  writeFileSync(file, settingsFor(options, ports, folder));
  const classes = ["-cp", join(lib, "*")];
  const scram = Object.entries(options.users ?? {}).flatMap(([name, password]) =>
    ["SCRAM-SHA-256", "SCRAM-SHA-512"].flatMap((mechanism) => ["--add-scram", `${mechanism}=[name=${name},password=${password}]`]),
  );
  const format = Bun.spawnSync([...JAVA, ...classes, "kafka.tools.StorageTool", "format", "-t", clusterId(), "-c", file, ...scram], {
    stdout: "pipe",
    stderr: "pipe",
  });
  if (!format.success) throw new Error(`the broker's folder can't be made:\n${format.stdout}${format.stderr}`);
  let said = "";
  const launch = () => {
    const child = Bun.spawn([...JAVA, ...classes, "kafka.Kafka", file], { stdout: "ignore", stderr: "pipe", cwd: folder });
    const started = (async () => {
      const decoder = new TextDecoder();
      const own = said.length;
      const { promise, resolve } = Promise.withResolvers<void>();
      (async () => {
        for await (const chunk of child.stderr) {
          said += decoder.decode(chunk, { stream: true });
          if (said.includes("Kafka Server started", own)) resolve();
        }
      })();
      await Promise.race([promise, child.exited]);
      if (child.exitCode !== null || child.signalCode !== null)
        throw new Ended(`the broker ended with ${child.exitCode}:\n${said.slice(own)}`);
    })();
    return { child, started };
  };
  let running = launch();
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    running.child.kill("SIGCONT");
    running.child.kill(signal);
    await running.child.exited;
  };
  try {
    await running.started;
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
  return {
    address: `127.0.0.1:${ports[0]}`,
    secure: `127.0.0.1:${ports[1]}`,
    stop: () => end("SIGTERM"),
    kill: () => end("SIGKILL"),
    signal: (signal) => running.child.kill(signal),
    start: async () => {
      running = launch();
      await running.started;
    },
    log: () => said,
    [Symbol.asyncDispose]: async () => {
      await end("SIGKILL");
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Gives an id as Kafka writes them: 16 bytes in base64url. */
const clusterId = (): string =>
  Buffer.from(crypto.getRandomValues(new Uint8Array(16)))
    .toString("base64url")
    .replace(/^-/, "A");

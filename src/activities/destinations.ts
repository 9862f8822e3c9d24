import { type Static, Type } from "@sinclair/typebox";
import type { Fault, Path } from "../schema/faults.ts";
import { Duration, Identifier, Nullable, Shape } from "../schema/fields.ts";
import { shareFiles } from "../storage/files.ts";
import { parseDuration } from "../values/units.ts";
import { MIN_EVERY } from "./bigquery/limits.ts";
import { isLocal, nameOf } from "./sinks/names.ts";

const Broker = Type.String({
  pattern: "^(\\[[0-9A-Fa-f:.]{2,45}\\]|[A-Za-z0-9._-]{1,253}):\\d{1,5}$",
  expects: 'a host with its port, such as "127.0.0.1:9092"',
  examples: ["127.0.0.1:9092"],
});
const File = (description: string) =>
  Type.Union([Type.String({ minLength: 1, maxLength: 4096 }), Type.Null()], { default: null, description });

const Tls = Shape(
  {
    ca: File("The file with the certificates (PEM) of whoever signs the brokers'; null: the well-known ones."),
    cert: File("The file with Sluice's own certificate (PEM), for brokers that ask for one."),
    key: File("The file with the key (PEM) of `cert`."),
    serverName: Type.Union([Type.String({ pattern: "^[A-Za-z0-9._-]{1,253}$", expects: "a host name" }), Type.Null()], {
      default: null,
      description: "The name that the brokers' certificates must have; null: the name under which each is reached.",
    }),
  },
  "Speaks TLS with the brokers; their certificates are verified.",
);

const Sasl = Shape(
  {
    mechanism: Type.Union([Type.Literal("plain"), Type.Literal("scram-sha-256"), Type.Literal("scram-sha-512")], {
      default: "scram-sha-512",
      description: "How Sluice signs in; plain shows the password to the broker, and wants TLS.",
    }),
    username: Type.String({ minLength: 1, maxLength: 256, description: "The user.", examples: ["sluice"] }),
    password: Type.String({
      minLength: 1,
      maxLength: 1024,
      secret: true,
      description: "Take it from the environment.",
      examples: ["${KAFKA_PASSWORD}"],
    }),
  },
  "Signs in at the brokers.",
);

const CONNECTION = {
  brokers: Type.Array(Broker, { minItems: 1, maxItems: 64, description: "Some of the cluster's brokers; they name the others." }),
  tls: Type.Union([Type.Boolean(), Tls], {
    default: false,
    description: "TLS: true, or with files of your own; false: none.",
  }),
  sasl: Nullable(Sasl, "How Sluice signs in; null: it does not."),
};
const Topic = (description: string, more: object = {}) =>
  Type.String({
    pattern: "^(?!\\.{1,2}$)[A-Za-z0-9._-]{1,249}$",
    expects: "a topic's name: 1 to 249 letters, digits and . _ -",
    description,
    ...more,
  });

export const KafkaQueueConfig = Shape(
  {
    ...CONNECTION,
    topic: Topic("Where activities wait, one record each, keyed by table. It is made when it is missing.", {
      default: "sluice-activities",
    }),
    partitions: Type.Integer({
      minimum: 1,
      maximum: 1000,
      default: 12,
      description:
        "Partitions of a topic that Sluice makes: as many instances can apply at once. Later changes would change the order of what waits.",
    }),
    group: Type.String({
      pattern: "^[A-Za-z0-9._-]{1,100}$",
      default: "sluice",
      expects: "1 to 100 letters, digits and . _ -",
      description: "What the consumer groups begin with: each sink has one, GROUP.SINK.",
    }),
  },
  "Kafka as the queue: a batch is accepted when all replicas in sync have it.",
);
export type KafkaQueueConfig = Static<typeof KafkaQueueConfig>;
export type KafkaConnection = Pick<KafkaQueueConfig, "brokers" | "tls" | "sasl">;

export const QueueConfig = Type.Union([Type.Literal("embedded"), Shape({ kafka: KafkaQueueConfig }, "Kafka as the queue.")], {
  default: "embedded",
  expects: '"embedded", or { "kafka": { … } }',
  description: 'Where batches wait: "embedded", in the file at `path` (with `redis` in a stream of it), or { "kafka": { … } }.',
});
export type QueueConfig = Static<typeof QueueConfig>;

const name = (kind: string) =>
  Type.Union([Identifier("A name."), Type.Null()], {
    default: null,
    description: `What metrics, logs and the queue call this sink; null: ${kind}. It keeps its place in the queue under this name.`,
  });

export const SqliteSinkConfig = Shape(
  {
    type: Type.Literal("sqlite", { description: "Tables in a file." }),
    name: name("sqlite"),
    path: File("The file of the tables; null: the one at activities.path."),
  },
  "Tables in a file.",
);
export const PostgresSinkConfig = Shape(
  {
    type: Type.Literal("postgres", { description: "Tables in PostgreSQL." }),
    name: name("postgres"),
    url: Type.String({
      pattern: "^postgres(ql)?://[^\\s]+$",
      maxLength: 2048,
      description: "The database, with user and password, which you take from the environment. ?sslmode=verify-full for TLS.",
      expects: 'a URL such as "postgres://sluice@127.0.0.1:5432/activities"',
      examples: ["postgres://sluice:${POSTGRES_PASSWORD}@127.0.0.1:5432/activities"],
      secret: true,
      isUrl: true,
    }),
    schema: Type.String({
      pattern: "^[A-Za-z_][A-Za-z0-9_]{0,62}$",
      default: "public",
      description: "The schema in which tables are made.",
      expects: "1 to 63 letters, digits and _, beginning with a letter or _",
    }),
    ca: File("The file with the certificates (PEM) of whoever signed the server's; null: the well-known ones."),
  },
  "Tables in PostgreSQL.",
);
export type PostgresSinkConfig = Static<typeof PostgresSinkConfig>;
export const BigQuerySinkConfig = Shape(
  {
    type: Type.Literal("bigquery", { description: "Tables in BigQuery." }),
    name: name("bigquery"),
    project: Type.String({
      pattern: "^[a-z0-9.:-]{1,128}$",
      expects: "a project's id",
      description: "The project.",
      examples: ["my-project"],
    }),
    dataset: Type.String({
      pattern: "^[A-Za-z0-9_]{1,1024}$",
      expects: "letters, digits and _",
      description: "The dataset, which must be there.",
      examples: ["activities"],
    }),
    credentials: Type.Union([Type.String({ minLength: 1, maxLength: 4096 }), Type.Null()], {
      default: null,
      description: "The file with a service account's key (JSON); null: the machine's own service account, by Google's metadata server.",
    }),
    endpoint: Type.Union([Type.String({ pattern: "^https?://[^\\s?#]+$", expects: "an http or https URL" }), Type.Null()], {
      default: null,
      description: "Where the API is; null: Google's.",
    }),
    every: Type.Union([Duration("A duration."), Type.Null()], {
      default: null,
      description:
        "null: rows are streamed as they come (insertAll). A duration of 1m or more: they are loaded together that often, by load jobs, which cost nothing.",
    }),
  },
  "Tables in BigQuery: append-only, with a view TABLE_current of the last state.",
);
export type BigQuerySinkConfig = Static<typeof BigQuerySinkConfig>;
export const KafkaSinkConfig = Shape(
  {
    type: Type.Literal("kafka", { description: "A topic of Kafka." }),
    name: name("kafka"),
    ...CONNECTION,
    topic: Topic("Where activities go, keyed by table and id. It is made when it is missing.", { examples: ["activities"] }),
    partitions: Type.Integer({ minimum: 1, maximum: 1000, default: 12, description: "Partitions of a topic that Sluice makes." }),
  },
  "A topic of Kafka.",
);
export type KafkaSinkConfig = Static<typeof KafkaSinkConfig>;

export const SinkConfig = Type.Union([SqliteSinkConfig, PostgresSinkConfig, BigQuerySinkConfig, KafkaSinkConfig]);
export type SinkConfig = Static<typeof SinkConfig>;

interface Destinations {
  readonly queue: QueueConfig;
  readonly sinks: readonly SinkConfig[];
}

/** Gives the faults of queue and sinks. `path`: the queue's file; `databasePath`: the file of the gateway's own database. */
export function destinationFaults({ queue, sinks }: Destinations, path: string, databasePath: string): Fault[] {
  const faults: Fault[] = [];
  const say = (at: Path, message: string) => faults.push({ path: ["activities", ...at], message });
  if (queue !== "embedded") connectionFaults(queue.kafka, (at, message) => say(["queue", "kafka", ...at], message));
  const names = new Set<string>();
  const files = new Set<string>();
  const databases = new Set<string>();
  for (const [i, sink] of sinks.entries()) {
    if (names.has(nameOf(sink))) say(["sinks", i], `is a second sink of the name ${nameOf(sink)}: give it another "name"`);
    names.add(nameOf(sink));
    const sayOf = (at: Path, message: string) => say(["sinks", i, ...at], message);
    if (sink.type === "kafka") connectionFaults(sink, sayOf);
    if (sink.type === "postgres") postgresFaults(sink, databases, sayOf);
    if (sink.type === "bigquery" && sink.every !== null && parseDuration(sink.every) < MIN_EVERY) sayOf(["every"], "must be at least 1m");
    if (sink.type !== "sqlite") continue;
    const file = isLocal(sink, path) ? path : (sink.path ?? path);
    if (files.has(file)) say(["sinks", i], "writes to the same file as another sink: one of them is enough");
    files.add(file);
    if (sink.path !== null && shareFiles(sink.path, databasePath))
      say(["sinks", i, "path"], "leads to the gateway's own database: name another file");
  }
  return faults;
}

function postgresFaults({ url, schema }: PostgresSinkConfig, databases: Set<string>, say: (at: Path, message: string) => void): void {
  if (/^(pg_|information_schema$)/i.test(schema)) say(["schema"], "is PostgreSQL's own: name another one");
  if (!URL.canParse(url)) {
    say(["url"], "is no URL: characters such as @ and / in user and password are written as %40 and %2F");
    return;
  }
  const { host, pathname } = new URL(url);
  const place = `${host}${pathname} ${schema.toLowerCase()}`;
  if (databases.has(place)) say([], "writes to the same schema as another sink: one of them is enough");
  databases.add(place);
}

function connectionFaults({ tls }: KafkaConnection, say: (at: Path, message: string) => void): void {
  if (typeof tls === "boolean") return;
  if ((tls.cert === null) !== (tls.key === null)) say(["tls"], "needs both cert and key, or neither");
}

/** Gives what of queue and sinks is valid and hardly meant. */
export function destinationWarnings({ queue, sinks }: Destinations): Fault[] {
  const found: Fault[] = [];
  const isOpen = ({ tls, sasl }: KafkaConnection): boolean => tls === false && sasl?.mechanism === "plain";
  const message = "shows the password to whoever listens on the way: set tls, or take scram-sha-512";
  if (queue !== "embedded" && isOpen(queue.kafka)) found.push({ path: ["activities", "queue", "kafka", "sasl"], message });
  for (const [i, sink] of sinks.entries())
    if (sink.type === "kafka" && isOpen(sink)) found.push({ path: ["activities", "sinks", i, "sasl"], message });
  return found;
}

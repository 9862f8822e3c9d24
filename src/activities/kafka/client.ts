import { readFileSync } from "node:fs";
import type { Consumer, Producer } from "@platformatic/kafka";
import type { KafkaConnection } from "../destinations.ts";

export type { Consumer, Producer };

/** Names a connection to Kafka: whatever is wrong with it is told with `where`, the place of its settings. */
export interface KafkaPlace {
  readonly connection: KafkaConnection;
  /** Such as "activities.queue.kafka". */
  readonly where: string;
}

/** Says that Kafka can't be reached, or takes nothing for now. */
export class KafkaAway extends Error {}

/** The time that a connection to a broker may take. In milliseconds. */
const CONNECT_WITHIN = 3000;

/** Gives the options of a client. The files of `tls` are read each time. Throws `KafkaAway` for one that can't be read. */
export function clientOptions({ connection, where }: KafkaPlace) {
  const { brokers, tls, sasl } = connection;
  const read = (field: "ca" | "cert" | "key"): string | undefined => {
    const path = typeof tls === "object" ? tls[field] : null;
    if (path === null) return undefined;
    try {
      return readFileSync(path, "utf8");
    } catch (error) {
      throw new KafkaAway(`${where}.tls.${field} names ${path}, which can't be read (${codeOf(error)}): check its path and permissions`);
    }
  };
  const serverName = typeof tls === "object" ? tls.serverName : null;
  return {
    clientId: "sluice",
    bootstrapBrokers: [...brokers],
    connectTimeout: CONNECT_WITHIN,
    ...(tls === false ? {} : { tls: { ca: read("ca"), cert: read("cert"), key: read("key"), rejectUnauthorized: true } }),
    ...(serverName === null ? {} : { tlsServerName: serverName }),
    ...(sasl === null ? {} : { sasl: { mechanism: MECHANISMS[sasl.mechanism], username: sasl.username, password: sasl.password } }),
  };
}

const MECHANISMS = { plain: "PLAIN", "scram-sha-256": "SCRAM-SHA-256", "scram-sha-512": "SCRAM-SHA-512" } as const;

/** Gives an error and all that it was made of: the client wraps what happened several times. */
function* within(error: unknown): Generator<Record<string, unknown>> {
  if (typeof error !== "object" || error === null) return;
  yield error as Record<string, unknown>;
  const { errors, cause } = error as { errors?: unknown; cause?: unknown };
  if (Array.isArray(errors)) for (const each of errors) yield* within(each);
  yield* within(cause);
}

const codeOf = (error: unknown): string => (error as { code?: string }).code ?? (error instanceof Error ? error.message : String(error));

/** Tells whether an error is, or comes of, a refusal by a broker of one of these kinds, such as "MESSAGE_TOO_LARGE". */
export const isRefusal = (error: unknown, ...kinds: readonly string[]): boolean =>
  [...within(error)].some(({ apiId }) => kinds.includes(apiId as string));

/** Tells whether an error says that a topic is not there. */
export const isUnknownTopic = (error: unknown): boolean =>
  isRefusal(error, "UNKNOWN_TOPIC_OR_PARTITION", "UNKNOWN_TOPIC_ID") ||
  [...within(error)].some(({ message }) => typeof message === "string" && message.startsWith("Unknown topic"));

const CERTIFICATE =
  /CERT|SELF_SIGNED|UNABLE_TO_(?:VERIFY|GET)|self.signed|certificate|unable to (?:verify|get)|ERR_TLS|Hostname\/IP|HOSTNAME_MISMATCH/;
const REFUSALS: Readonly<Record<string, string>> = {
  TOPIC_AUTHORIZATION_FAILED: "it may not use the topic: allow its user to read, write, describe and, if the topic is missing, create it",
  GROUP_AUTHORIZATION_FAILED: "it may not use the consumer group: allow its user to read the group",
  CLUSTER_AUTHORIZATION_FAILED:
    "it may not do this in the cluster: allow its user idempotent writes, and to create the topic if it is missing",
  TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "it may not write idempotently: allow its user IdempotentWrite",
  NOT_ENOUGH_REPLICAS: "fewer replicas are in sync than min.insync.replicas asks for: bring the other brokers back",
  NOT_ENOUGH_REPLICAS_AFTER_APPEND: "fewer replicas are in sync than min.insync.replicas asks for: bring the other brokers back",
  INVALID_REPLICATION_FACTOR:
    "the topic can't be made with the brokers' default.replication.factor: bring the other brokers back, or make it",
  POLICY_VIOLATION: "the cluster's policy forbids to make the topic this way: make it yourself",
};

/** Says for people what is wrong with Kafka, where, and what they can do. */
export function explain(error: unknown, { connection, where }: KafkaPlace): string {
  if (error instanceof KafkaAway) return error.message;
  const all = [...within(error)];
  const texts = all.map(({ message }) => (typeof message === "string" ? message : ""));
  const has = (text: string): boolean => texts.some((each) => each.includes(text));
  const brokers = connection.brokers.join(", ");
  const broker =
    texts.map((text) => /Connection to (\S+) (?:failed|timed out)/.exec(text)?.[1]).find((each) => each !== undefined) ?? brokers;
  const certificate = all.find(
    ({ code, message }) =>
      (typeof code === "string" && CERTIFICATE.test(code)) || (typeof message === "string" && CERTIFICATE.test(message)),
  );
  const user = connection.sasl === null ? "" : ` "${connection.sasl.username}" by ${connection.sasl.mechanism}`;
  if (has("SASL mechanism") || isRefusal(error, "UNSUPPORTED_SASL_MECHANISM"))
    return `Kafka at ${broker} does not take ${connection.sasl?.mechanism}: set ${where}.sasl.mechanism to one that it takes`;
  if (all.some(({ code }) => code === "PLT_KFK_AUTHENTICATION") || isRefusal(error, "SASL_AUTHENTICATION_FAILED"))
    return `Kafka at ${broker} refuses the user${user}: check ${where}.sasl.username and password`;
  if (isRefusal(error, "ILLEGAL_SASL_STATE")) return `Kafka at ${broker} wants its callers to sign in: set ${where}.sasl`;
  if (certificate !== undefined)
    return `the certificate of Kafka at ${broker} is not trusted (${certificate.code ?? certificate.message}): name who signed it by ${where}.tls.ca, or the name it was made for by ${where}.tls.serverName`;
  if (has("Broker requires TLS")) return `Kafka at ${broker} speaks TLS: set ${where}.tls`;
  if (has("TLS handshake failed") || has("WRONG_VERSION_NUMBER"))
    return `Kafka at ${broker} does not speak TLS: name its port for TLS in ${where}.brokers, or set ${where}.tls to false`;
  for (const { apiId } of all) {
    const refusal = REFUSALS[apiId as string];
    if (refusal !== undefined) return `Kafka at ${brokers} refuses Sluice${user === "" ? "" : `, who signs in as${user}`}: ${refusal}`;
  }
  const last = all.at(-1);
  const why = String(last?.code ?? last?.apiId ?? "").startsWith("PLT_")
    ? last?.message
    : (last?.apiId ?? last?.code ?? last?.message ?? error);
  // Brokers hang up when somebody does not sign in who should, without a word.
  const signIn = connection.sasl === null && has("Connection closed") ? `; if it wants its callers to sign in, set ${where}.sasl` : "";
  return `Kafka at ${broker} can't be reached (${why}): check that it runs, and ${where}.brokers${signIn}`;
}

import { expect } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { KafkaQueueConfig } from "../../../src/activities/destinations.ts";
import { QueueAway } from "../../../src/activities/queues/queue.ts";
import { type KafkaBroker, startKafka } from "../../support/kafka.ts";
import { accepted, follow, insert, kafkaQueue } from "../../support/kafka-queue.ts";
import { having } from "../../support/programs.ts";
import { CERTIFICATE } from "../../support/tls.ts";

const { afterAll, beforeAll, describe, test } = having("java", "mvn");

const PASSWORD = "a-password-of-alice";
let broker: KafkaBroker;
let folder: string;
let ca: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "sluice-kafka-tls-"));
  ca = join(folder, "ca.pem");
  writeFileSync(ca, CERTIFICATE);
  broker = await startKafka({ users: { alice: PASSWORD }, isTls: true });
});
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await broker[Symbol.asyncDispose]();
});

type Mechanism = "plain" | "scram-sha-256" | "scram-sha-512";
const alice = (mechanism: Mechanism, password = PASSWORD) => ({ mechanism, username: "alice", password });
const trusting = (file: string, serverName: string | null = null) => ({ ca: file, cert: null, key: null, serverName });

/** Says why a queue of this configuration takes nothing. */
async function whyNot(config: Partial<KafkaQueueConfig> & { brokers: string[] }): Promise<string> {
  await using at = kafkaQueue(config);
  const error = await at.queue.put([accepted("a", [insert("orders", 1)])], Date.now()).catch((caught) => caught);
  expect(error).toBeInstanceOf(QueueAway);
  return error.message;
}

describe("TLS with sign-in", () => {
  for (const mechanism of ["plain", "scram-sha-256", "scram-sha-512"] as const) {
    test(`a queue works with ${mechanism}`, async () => {
      await using at = kafkaQueue({ brokers: [broker.secure], tls: trusting(ca), sasl: alice(mechanism) });
      expect(await at.queue.put([accepted("a", [insert("orders", 1)])], Date.now())).toEqual(["put"]);
      expect((await follow(at.queue.feed("sqlite"), 1)).length).toBe(1);
    });

    test(`a wrong password is told with what to check, with ${mechanism}`, async () => {
      const why = await whyNot({ brokers: [broker.secure], tls: trusting(ca), sasl: alice(mechanism, "wrong") });
      expect(why).toBe(
        `Kafka at ${broker.secure} refuses the user "alice" by ${mechanism}: check activities.queue.kafka.sasl.username and password`,
      );
    });
  }

  test("the certificate must have the name that is asked for", async () => {
    await using at = kafkaQueue({ brokers: [broker.secure], tls: trusting(ca, "localhost"), sasl: alice("plain") });
    expect(await at.queue.put([accepted("a", [insert("orders", 1)])], Date.now())).toEqual(["put"]);
    const why = await whyNot({ brokers: [broker.secure], tls: trusting(ca, "kafka.example"), sasl: alice("plain") });
    expect(why).toContain(`the certificate of Kafka at ${broker.secure} is not trusted`);
    expect(why).toContain("activities.queue.kafka.tls.serverName");
  });

  test("a certificate that nobody vouches for is not trusted", async () => {
    const why = await whyNot({ brokers: [broker.secure], tls: true, sasl: alice("plain") });
    expect(why).toContain(`the certificate of Kafka at ${broker.secure} is not trusted`);
    expect(why).toContain("activities.queue.kafka.tls.ca");
  });

  test("a file that is not there is named", async () => {
    const missing = join(folder, "missing.pem");
    const why = await whyNot({ brokers: [broker.secure], tls: trusting(missing), sasl: alice("plain") });
    expect(why).toBe(`activities.queue.kafka.tls.ca names ${missing}, which can't be read (ENOENT): check its path and permissions`);
  });

  test("TLS that is missing on one side is told", async () => {
    expect(await whyNot({ brokers: [broker.secure] })).toContain("set activities.queue.kafka.tls");
    expect(await whyNot({ brokers: [broker.address], tls: trusting(ca) })).toContain("activities.queue.kafka.brokers");
  });

  test("a sign-in that is missing is told", async () => {
    expect(await whyNot({ brokers: [broker.secure], tls: trusting(ca) })).toContain("activities.queue.kafka.sasl");
  });
});

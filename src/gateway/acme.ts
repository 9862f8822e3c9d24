import { dirname, join } from "node:path";
import type { Config } from "../config/schema.ts";
import { AcmeOrders } from "../edge/acme/orders.ts";
import { RedisShare } from "../edge/acme/redis-share.ts";
import { AcmeSource } from "../edge/acme/source.ts";
import { FolderStore, MemoryStore } from "../edge/acme/store.ts";
import type { AcmeConfig } from "../edge/settings.ts";
import type { Answerer } from "../exchange/line.ts";
import { ACME_CHALLENGES } from "../exchange/own-paths.ts";
import { problem } from "../http/problem.ts";
import { date } from "../http/reply.ts";
import type { Secrets } from "../records/sealing.ts";
import { lockAlone } from "../storage/lock.ts";
import type { Ground } from "./ground.ts";

const LOOK_EVERY = 1000;

/** Opens what orders certificates; `null` in a worker: the keeper orders. */
export function openAcme(ground: Ground, secrets: Secrets): AcmeOrders | null {
  const { bus, inForce, scope, every, occurrences, emit } = ground;
  if (bus.role === "worker") return null;
  const orders = new AcmeOrders((settings, counts) => sourceOf(ground, secrets, settings, counts), emit);
  scope.defer(() => orders.close());
  orders.configure(acmeOf(inForce.config));
  every(LOOK_EVERY, () => orders.look());
  occurrences.subscribe({
    reload: ({ faults }) => {
      if (faults.length === 0) orders.configure(acmeOf(inForce.config));
    },
  });
  return orders;
}

const acmeOf = ({ server }: Config): AcmeConfig | null => server.tls?.acme ?? null;

function sourceOf(
  { options: { databasePath }, clock, emit, link, instance, warnings }: Ground,
  secrets: Secrets,
  settings: AcmeConfig,
  counts: AcmeOrders["counts"],
): AcmeSource {
  const { directory } = settings;
  // Only a start brings another secret.
  if (link !== null && !secrets.canSeal)
    warnings.raise(
      "certificateKeysReadable",
      "The private keys of certificates lie in Redis as they are: start every instance with the same SLUICE_SECRET, under which they are sealed.",
    );
  return new AcmeSource({
    ...{ settings, clock, random: Math.random, counts, tell: emit },
    store:
      databasePath === ":memory:"
        ? new MemoryStore()
        : new FolderStore(join(dirname(databasePath), "acme"), directory, (path) => lockAlone(path, 0)),
    share:
      link === null
        ? null
        : new RedisShare({
            ...{ link, directory, self: instance },
            seal: (text) => (secrets.canSeal ? secrets.seal(text) : text),
            open: (text) => secrets.openIfSealed(text),
          }),
  });
}

const NO_CHALLENGE = problem("routeNotFound", "No authority has been asked to look for this.");

/** Makes the answerer of what an authority asks to see that a host leads here (RFC 8555 §8.3). */
export const acmeAnswerer =
  (orders: AcmeOrders | null): Answerer =>
  async ({ path }) => {
    const answer = (await orders?.proof(path.slice(ACME_CHALLENGES.length + 1))) ?? null;
    if (answer === null) return { kind: "problem", problem: NO_CHALLENGE };
    const head = `Content-Type: application/octet-stream\r\n${date()}Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n`;
    return { kind: "reply", reply: { status: 200, reason: "OK", head, body: answer, length: -1 } };
  };

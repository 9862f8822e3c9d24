import type { Answer } from "../exchange/answer.ts";
import type { Caller } from "../exchange/caller.ts";
import type { Exchange } from "../exchange/exchange.ts";
import type { Answerer } from "../exchange/line.ts";
import type { OwnName } from "../exchange/own-paths.ts";
import { callerLeft, type Origin, type UpstreamClient, UpstreamFailure, unixOrigin } from "../http/client.ts";
import type { JudgedCertificate } from "../http/client-certificate.ts";
import { HOP_BY_HOP } from "../http/name-filter.ts";
import { KEEPER_UNAVAILABLE } from "../http/problem.ts";
import { RELAY_FIELD, type Relay, relayLine } from "../http/relay.ts";
import type { ClientCertificates } from "../identity/client-certificates.ts";
import type { Clock } from "../values/clock.ts";
import type { Ground } from "./ground.ts";
import type { Services } from "./services.ts";

/** What the keeper answers for all processes: whatever it takes to write, or to know of all of them. */
export const RELAYED: ReadonlySet<OwnName> = new Set([
  "acme-challenge",
  "ready",
  "metrics",
  "admin",
  "me",
  "me-rotate",
  "me-keys",
  "my-api",
]);

/** Milliseconds that a request waits for a keeper that is started anew, and between two looks whether it is there. */
const KEEPER_WITHIN = 10_000;
const LOOK_EVERY = 20;
/** Milliseconds until the keeper has answered: a backup of a large database takes its time. */
const ANSWER_WITHIN = 600_000;

/**
 * Makes the answerer of what the keeper does for all: it passes the request on as it came, and tells whom it is of. With `isAdmitted` who calls was found out
 * here, and the limits let the request pass.
 */
const relayAnswerer =
  (
    client: UpstreamClient,
    certificates: ClientCertificates,
    keeper: Origin,
    clock: Clock,
    isThere: () => boolean,
    isAdmitted: boolean,
  ): Answerer =>
  async (exchange) => {
    const { incoming } = exchange;
    if (isAdmitted) exchange.trace?.enter("activities", clock.now());
    // The supervisor holds its socket: a connection is made, and waits there, whether or not somebody will ever take it.
    for (const end = performance.now() + KEEPER_WITHIN; !isThere(); await Bun.sleep(LOOK_EVERY)) {
      if (exchange.isOver) throw callerLeft();
      if (performance.now() > end) return unavailable(exchange, NOT_STARTED);
    }
    const call = client.send(keeper, {
      method: incoming.head.method,
      head: headOf(exchange, certificates, isAdmitted),
      body: exchange.body,
      chunked: incoming.head.framing === "chunked",
      upgrade: false,
      connectTimeout: KEEPER_WITHIN,
      timeout: ANSWER_WITHIN,
      bodyTimeout: ANSWER_WITHIN,
      // Most can't be sent twice.
      reuse: "checked",
    });
    let isGone = false;
    // It may have ended before the supervisor knew, with what waited for it.
    const patience = setInterval(() => {
      isGone = !isThere();
      if (isGone) call.abort();
    }, KEEPER_WITHIN);
    const before = incoming.onAbort;
    incoming.onAbort = () => {
      before?.();
      call.abort();
    };
    try {
      const response = await call.response;
      if (exchange.isOver) throw callerLeft();
      return { kind: "forwarded", response };
    } catch (error) {
      if (!(error instanceof UpstreamFailure) || error.kind === "request" || (error.kind === "aborted" && !isGone)) throw error;
      return unavailable(exchange, isGone ? NOT_STARTED : error.message);
    } finally {
      clearInterval(patience);
      incoming.onAbort = before;
    }
  };

function unavailable({ notes }: Exchange, why: string): Answer {
  notes.trouble = `the keeper: ${why}`;
  return { kind: "problem", problem: KEEPER_UNAVAILABLE };
}

const NOT_STARTED = "it has not started again";

/** Gives what passes requests on to the keeper; `null` where this process answers by itself. `isAdmitted`: see `relayAnswerer`. */
export const relayOf = (
  { bus, clock, options: { keeperSocket, isKeeperThere } }: Pick<Ground, "bus" | "clock" | "options">,
  { client, clientCertificates }: Pick<Services, "client" | "clientCertificates">,
  isAdmitted = false,
): Answerer | null =>
  bus.role !== "worker" || keeperSocket === undefined
    ? null
    : relayAnswerer(
        client,
        clientCertificates,
        { ...unixOrigin(keeperSocket), isOurs: true },
        clock,
        isKeeperThere ?? (() => true),
        isAdmitted,
      );

/**
 * Writes the head for the keeper: all fields that are not of this hop. What a caller's `Connection` names goes on, since the keeper is no further hop: it must
 * see what this process would, such as X-Forwarded-For.
 */
function headOf({ id, incoming, caller, body }: Exchange, certificates: ClientCertificates, isAdmitted: boolean): string {
  const { head, ip, isTls, hasProxyLine, certificate = null } = incoming;
  const { names, lower, values } = head.fields;
  let text = `${head.method} ${head.target} HTTP/1.1\r\n`;
  for (let i = 0; i < names.length; i++) {
    const name = lower[i] as string;
    if (NOT_RELAYED.has(name)) continue;
    text += `${names[i]}: ${values[i]}\r\n`;
  }
  if (head.framing === "chunked") text += "Transfer-Encoding: chunked\r\n";
  else if (body !== null) text += `Content-Length: ${body.length}\r\n`;
  const isAdmin = incoming.connection.server.options.isAdmin === true;
  const relay: Relay = {
    ...{ ip, isTls, ...(hasProxyLine ? { hasProxyLine } : {}), ...(isAdmin ? { isAdmin } : {}) },
    ...(isAdmitted ? { caller: toldOf(caller) } : {}),
    ...(certificate === null || isAdmitted ? {} : { certificate: briefly(certificates.judge(certificate)) }),
  };
  return `${text}X-Request-ID: ${id}\r\n${relayLine(relay)}\r\n`;
}

/** Leaves out what nobody reads of a certificate that holds. */
const briefly = (judged: JudgedCertificate): JudgedCertificate => (judged.fault === null ? { ...judged, detail: "" } : judged);

const toldOf = ({ via, id, consumer }: Caller): NonNullable<Relay["caller"]> => ({ via, id, consumer: consumer.id, tier: consumer.tier });

/** Fields that are written anew, or belong to this hop. */
const NOT_RELAYED: ReadonlySet<string> = new Set([...HOP_BY_HOP, "content-length", "x-request-id", "expect", RELAY_FIELD]);

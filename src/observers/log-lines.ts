import { timeText } from "../http/conventions.ts";
import { unitOf } from "../pools/pool.ts";
import { faultLines } from "../schema/faults.ts";
import type { Logger } from "../telemetry/log.ts";
import type { OccurrenceOf, Subscriber } from "../telemetry/occurrences.ts";
import type { Clock } from "../values/clock.ts";
import { dollarsOf } from "../values/money.ts";

export interface LogLinesDeps {
  readonly log: Logger;
  readonly clock: Clock;
  /** The configuration's file; `null`: the embedded demo. */
  readonly file: string | null;
  /** Says what happens to limits while Redis is away. */
  readonly onFailure: () => string | undefined;
}

/** Writes a line of the log for each occurrence that has one: the wording of all of them stands here. */
export const logLines = (deps: LogLinesDeps): Subscriber => ({ ...linesOfState(deps), ...linesOfBackends(deps) });

/** Writes the lines about the gateway itself. */
const linesOfState = ({ log, file, onFailure }: LogLinesDeps): Subscriber => ({
  warning: ({ warning: { code, message, detail }, isRaised }) => {
    if (isRaised) log.warn({ code, detail }, message);
    else log.info({ code }, "this warning is over");
  },
  certificateFailing: ({ name, why, nextAt }) => {
    if (why === null) log.info({ name }, "the certificate is well again");
    else log.error({ name, why, ...(nextAt === null ? {} : { nextAt: timeText(nextAt) }) }, "a certificate can't be had, or renewed");
  },
  certificateReplaced: ({ place, names, endsAt }) =>
    log.info({ file: place, names, until: timeText(endsAt) }, "another certificate is served"),
  backup: ({ file, bytes }) => log.info({ file, bytes }, "backup made"),
  block: ({ block: { cidr, reason, by, expiresAt } }) => log.warn({ ip: cidr, reason, by, until: timeText(expiresAt) }, "address blocked"),
  cutOff: ({ cause, ip }) =>
    log.warn({ ip, why: cause }, "an HTTP/2 connection was cut off: its client did too much of what costs the server"),
  health: ({ before, after: { status, by, reason } }) =>
    log[status === "DEGRADED" ? "warn" : "info"]({ from: before.status, to: status, by, reason }, "system health"),
  redis: ({ isUp, why, isFirst }) => {
    if (isFirst) log.error({ why, onFailure: onFailure() }, "Redis is not there: this instance begins by itself");
    else if (isUp) log.info("Redis is there");
    else log.error({ why, onFailure: onFailure() }, "Redis is lost: this instance goes on by itself");
  },
  certificateOrdered: ({ host, endsAt, renewsAt }) =>
    log.info({ host, until: timeText(endsAt), renewsAt: timeText(renewsAt) }, "certificate ordered"),
  recordsCompared: ({ epoch, published, taken }) => log.info({ epoch, published, taken }, "records compared with Redis"),
  collector: ({ endpoint, isUp, why }) => {
    if (isUp) log.info("the collector takes traces again");
    else log.warn({ endpoint, why }, "the collector takes no traces: they are dropped");
  },
  pluginFailed: ({ plugin, hook, kind, error, requestId, skips }) =>
    log[skips ? "warn" : "error"]({ requestId, plugin, hook, kind, error }, `a plug-in failed${skips ? ": it is skipped" : ""}`),
  pluginHeldUp: ({ plugin, hook, milliseconds, requestId }) =>
    log.warn({ requestId, plugin, hook, milliseconds: Math.round(milliseconds) }, "a plug-in has kept everything else waiting"),
  activitiesNotice: ({ sink, message }) =>
    log.warn({ ...(sink === null ? {} : { sink }), error: message }, "activities take effect, but not all is well"),
  activitiesTrouble: ({ sink, message, attempts }) =>
    sink === null
      ? log.error({ error: message }, "activities can't be taken in or handed on for now")
      : log.error({ sink, attempts, error: message }, "activities can't be applied for now: they are kept"),
  activitiesFine: ({ sink }) =>
    sink === null ? log.info("activities are taken in and handed on again") : log.info({ sink }, "activities are applied again"),
  webhookAway: ({ webhook, why }) => {
    if (why === null) log.info({ webhook }, "the webhook's receiver takes events again");
    else log.warn({ webhook, why }, "a webhook's receiver does not take events: they are kept, and tried again over a day");
  },
  webhookFailed: ({ webhook, id, event, tries, why }) =>
    log.error({ webhook, id, event, tries, why }, "an event could not be delivered to a webhook: it is given up"),
  configurationWarnings: ({ warnings }) => {
    for (const line of faultLines(file, warnings)) log.warn(`configuration: ${line}`);
  },
  reload: ({ trigger, faults }) => {
    if (faults.length === 0) log.info({ trigger, file }, "configuration reloaded");
    else log.error({ trigger, faults: faultLines(file, faults) }, "configuration not reloaded: the one before stays in force");
  },
});

/** Writes the lines about backends, and the credentials for them. */
const linesOfBackends = ({ log, clock }: LogLinesDeps): Subscriber => ({
  lease: (occurrence) => leaseLine(log, occurrence),
  poolKey: ({ pool, key, change, status, until }) =>
    log[change === "back" ? "info" : "warn"](
      { pool, key, status, ...(change === "back" ? {} : { until: timeText(clock.wall() + (until - clock.now())) }) },
      KEY_CHANGES[change],
    ),
  breaker: ({ upstream, target: { url }, from, to, cause }) =>
    log[to === "open" ? "warn" : "info"]({ upstream, target: url, from, to, cause }, "circuit breaker"),
  target: ({ upstream, target: { url }, isHealthy, why }) =>
    log[isHealthy ? "info" : "warn"]({ upstream, target: url, healthy: isHealthy, why }, "health check"),
  attemptFailed: ({ requestId, upstream, target: { url }, attempt, why }) => {
    if (!log.isLevelEnabled("debug")) return;
    const what =
      typeof why === "number" ? { status: why } : typeof why === "string" ? { outcome: why } : { kind: why.kind, error: why.message };
    log.debug({ requestId, upstream, target: url, attempt, ...what }, "attempt failed");
  },
  authorize: ({ route, service, isDenied, why }) => {
    if (why === null) log.info({ route, service }, "the service that authorizes requests decides again");
    else
      log.error(
        { route, service, why },
        `the service that authorizes requests does not decide: they are ${isDenied ? "refused" : "let through"}`,
      );
  },
  issuer: ({ issuer, why }) => {
    if (why === null) log.info({ issuer }, "the issuer can be asked again");
    else log.warn({ issuer, why }, "an issuer of tokens can't be asked: tokens that it has to be asked about are 503");
  },
  unpriced: ({ route, model, isNews, isFree }) => {
    if (isNews)
      log.warn(
        { route, model },
        isFree
          ? "a model without a price is called, and counts as free: add it to prices"
          : "a model without a price is called, and refused where money is counted: add it to prices",
      );
  },
  modelAttempt: ({ requestId, model, attempt, outcome }) => {
    if (outcome === "answered" || outcome === "left") return;
    const { upstreamName: upstream, model: used } = attempt;
    if (outcome === "broken") log.warn({ requestId, model, upstream, used }, "a model's answer broke off");
    else log.warn({ requestId, model, upstream, used, outcome }, "a model did not answer");
  },
  unasked: ({ target }) =>
    log.warn({ target }, "a backend sent bytes that nobody asked for: its connections are looked at before they are used again"),
});

const KEY_CHANGES = {
  rests: "the upstream limits a key: it rests",
  quarantined: "the upstream refuses a key",
  back: "the upstream takes a key again",
} as const;

function leaseLine(log: Logger, { pool, user, kind, lease }: OccurrenceOf<"lease">): void {
  const who = kind === "handedOut" ? { pool, service: user } : { pool, route: user };
  if (!lease.granted) {
    // What no key ever holds is for the caller to change.
    if (Number.isFinite(lease.retryIn))
      log.error({ ...who, retryIn: Math.ceil(lease.retryIn) }, "All API keys have reached their rate limits.");
    else log.warn(who, "a request costs more than any key of the pool holds");
    return;
  }
  const { id } = lease.grant.key;
  // A route's requests have lines of their own.
  const level = kind === "handedOut" ? "info" : "debug";
  if (!log.isLevelEnabled(level)) return;
  const unit = unitOf(lease.grant.key);
  const left = unit === "usd" ? `Dollars: ${dollarsOf(lease.remaining)}` : `Tokens: ${lease.remaining}`;
  log[level]({ ...who, key: id }, `API Key: ${id} - Remaining ${left}`);
}

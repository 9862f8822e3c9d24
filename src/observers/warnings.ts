import type { Warnings } from "../health/warnings.ts";
import { type Fault, faultLines } from "../schema/faults.ts";
import type { Logger } from "../telemetry/log.ts";
import type { Subscriber } from "../telemetry/occurrences.ts";

export interface WarningRulesDeps {
  readonly warnings: Warnings;
  /** The configuration's file; `null`: the embedded demo. */
  readonly file: string | null;
  /** The log; `null`: nothing is logged. */
  readonly log: Logger | null;
}

/** Raises and clears the warnings that occurrences mean for an operator: the wording of all of them stands here. */
export const warningRules = (deps: WarningRulesDeps): Subscriber => ({
  ...ofStorage(deps),
  ...ofCertificates(deps),
  ...ofPeers(deps),
  ...ofWebhooks(deps),
  ...ofActivities(deps),
  ...ofConfiguration(deps),
});

const ofStorage = ({ warnings }: WarningRulesDeps): Subscriber => ({
  storage: ({ state }) => {
    if (state?.isDamaged !== true) warnings.clear("storageDamaged");
    if (state === null) warnings.clear("storageReadOnly");
    else if (state.isDamaged)
      warnings.raise(
        "storageDamaged",
        "The database is damaged: stop the gateway and restore a backup (sluice restore FILE).",
        state.detail,
      );
    else
      warnings.raise(
        "storageReadOnly",
        "Changes can't be stored: the disk is full, or can't be written. Requests are served; admin changes are refused until there is room again.",
        state.detail,
      );
  },
  backupTrouble: ({ why }) => {
    if (why === null) warnings.clear("backupFailed");
    else warnings.raise("backupFailed", "The last scheduled backup could not be made.", why);
  },
  activitiesFull: ({ isFull }) => {
    if (isFull)
      warnings.raise(
        "activitiesFull",
        "The activities' database has the size that it may have: no more are taken.",
        "Raise activities.maxSize, or make room: delete rows, or let activities.keepFor be shorter.",
      );
    else warnings.clear("activitiesFull");
  },
});

const ofCertificates = ({ warnings }: WarningRulesDeps): Subscriber => {
  const tell = warningOfEach(
    warnings,
    "certificateFailing",
    "A certificate can't be read, ordered or renewed: the last good one serves until it ends.",
  );
  return { certificateFailing: ({ name, why }) => tell(name, why) };
};

/**
 * Makes what holds one warning for all that are unwell in one way, with the reason for each (`null`: it is well again). The log has lines of
 * its own for them.
 */
function warningOfEach(warnings: Warnings, code: string, message: string): (name: string, why: string | null) => void {
  const unwell = new Map<string, string>();
  return (name, why) => {
    if (why === null) unwell.delete(name);
    else unwell.set(name, why);
    if (unwell.size === 0) warnings.clear(code);
    else warnings.raise(code, message, [...unwell].map(([each, reason]) => `${each}: ${reason}`).join(", "), true);
  };
}

const ofPeers = ({ warnings, log }: WarningRulesDeps): Subscriber => {
  /** The names of backends that can't be looked up, with the warning's text for each. */
  const doubted = new Map<string, string>();
  const tellOfIssuer = warningOfEach(
    warnings,
    "issuerUnavailable",
    "An issuer of tokens can't be asked: its last keys serve for 24 hours, and what it would have to be asked about is 503.",
  );
  /** The balancers whose connections come without a PROXY line. */
  const withoutLine = new Set<string>();
  return {
    unnamedProxy: ({ peer }) =>
      warnings.raise(
        "untrustedProxy",
        "Requests come through a proxy that server.trustedProxies does not name: all its callers count as one address, for limits and blocks.",
        `requests come through ${peer}, which server.trustedProxies does not name`,
      ),
    proxyLine: ({ peer, isMissing }) => {
      if (isMissing) withoutLine.add(peer);
      else withoutLine.delete(peer);
      if (withoutLine.size === 0) warnings.clear("proxyLineMissing");
      else
        warnings.raise(
          "proxyLineMissing",
          "Connections of a balancer that server.proxyProtocol names come without a PROXY line: they are refused.",
          `let it send one (HAProxy: send-proxy-v2; nginx: proxy_protocol on): ${[...withoutLine].join(", ")}`,
        );
    },
    unknownAddress: () =>
      warnings.raise(
        "addressUnknown",
        "A proxy asks at /authz without the caller's address: limits by address and the guard are left out for its requests.",
        "let it send X-Forwarded-For or X-Real-IP",
      ),
    redis: ({ isUp, why }) => {
      if (isUp) warnings.clear("redisAway");
      else warnings.raise("redisAway", "Redis is away: limits are as redis.onFailure says, and records can't be changed.", why, true);
    },
    lookUp: ({ target, address, error }) => {
      if (error === null) doubted.delete(target);
      else doubted.set(target, `${target}: ${error}; ${address} is used`);
      if (doubted.size === 0) {
        warnings.clear("nameLookUpFailed");
        return;
      }
      const message = "A backend's name can't be looked up: its last address is used.";
      warnings.raise("nameLookUpFailed", message, [...doubted.values()].join(", "));
      // The first is in the log as a warning.
      if (error !== null && doubted.size > 1) log?.warn({ detail: doubted.get(target) }, message);
    },
    issuer: ({ issuer, why }) => tellOfIssuer(issuer, why),
    revocationLists: ({ why }) => {
      if (why === null) warnings.clear("revocationListOld");
      else
        warnings.raise(
          "revocationListOld",
          "A revocation list of clients' certificates should have been followed by a newer one: what was revoked since is not known.",
          why,
        );
    },
    shortage: ({ isShort }) => {
      if (isShort) warnings.raise("outOfDescriptors", "Requests were refused for want of file descriptors: raise the limit of open files.");
      else warnings.clear("outOfDescriptors");
    },
  };
};

const ofWebhooks = ({ warnings }: WarningRulesDeps): Subscriber => {
  const gone = new Set<string>();
  const full = new Set<string>();
  return {
    webhookGone: ({ webhook, isGone }) => {
      if (isGone) gone.add(webhook);
      else gone.delete(webhook);
      if (gone.size === 0) warnings.clear("webhookGone");
      else
        warnings.raise(
          "webhookGone",
          "A webhook's receiver wants no more events (410): nothing is sent to it. Enable it again when it does, or delete it.",
          [...gone].join(", "),
        );
    },
    webhookFull: ({ webhook, isFull }) => {
      if (isFull) full.add(webhook);
      else full.delete(webhook);
      if (full.size === 0) warnings.clear("webhookFull");
      else warnings.raise("webhookFull", "As many events wait for a webhook as are kept: the oldest are dropped.", [...full].join(", "));
    },
  };
};

const ofActivities = ({ warnings }: WarningRulesDeps): Subscriber => {
  const tellOfSink = warningOfEach(warnings, "sinkAway", "Activities can't be applied to a sink for now: they are kept, and tried again.");
  return {
    activitiesTrouble: ({ sink, message }) => {
      if (sink === null) warnings.raise("queueAway", "Activities can't be taken in or handed on for now.", message, true);
      else tellOfSink(sink, message);
    },
    activitiesFine: ({ sink }) => {
      if (sink === null) warnings.clear("queueAway");
      else tellOfSink(sink, null);
    },
  };
};

const ofConfiguration = ({ warnings, file }: WarningRulesDeps): Subscriber => ({
  reload: ({ faults }) => warnOfFile(warnings, file, faults),
});

/** Raises the warning that the file has these faults, or clears it where there are none. */
export function warnOfFile(warnings: Warnings, file: string | null, faults: readonly Fault[]): void {
  if (faults.length === 0) warnings.clear("configurationFaulty");
  else
    warnings.raise(
      "configurationFaulty",
      "The configuration file has faults: the one before it is in force, and a restart would fail. sluice check names the faults.",
      faultLines(file, faults).join("; "),
      true,
    );
}

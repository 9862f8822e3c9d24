import { IdempotentAnswers } from "../admin/idempotency.ts";
import { refusalOf } from "../admin/refusals.ts";
import type { Exchange } from "../exchange/exchange.ts";
import { Changes } from "../selfservice/changes.ts";
import { KeysAnswerer } from "../selfservice/keys-answerer.ts";
import { OwnKeys } from "../selfservice/own-keys.ts";
import { USUAL_RULES } from "../tiers/settings.ts";
import type { Ground } from "./ground.ts";
import { SETTLED, SETTLED_WITHIN } from "./picture.ts";
import type { Services } from "./services.ts";

/** Opens what lets consumers see and change keys of their own. */
export function openSelfService(ground: Ground, services: Services): KeysAnswerer {
  const { clock, audit, bus, feed, guarded, link, storage, writability } = ground;
  const { records, replication, applyRemoteChanges } = services;
  const { keys, registry, tiers } = records;
  const changes = new Changes({
    audit,
    answers: new IdempotentAnswers(storage, clock, link),
    catchUp: () => guarded(() => feed.poll(applyRemoteChanges)),
    write: replication === null ? null : (work) => replication.write(work),
    // What was revoked is refused at once, whichever worker is asked next.
    settled: async () => (bus.role === "keeper" ? bus.askAll(SETTLED, null, SETTLED_WITHIN) : null),
    refusalOf: (error) => refusalOf(error, (failed) => (writability.failed(failed) ? writability.state : null)),
  });
  return new KeysAnswerer(
    new OwnKeys({ keys, registry, clock, rulesOf: (tier) => tiers.get(tier)?.document.selfService ?? USUAL_RULES }),
    changes,
  );
}

/** Gives the field that shows who calls, as it came; `null`: it is in none. */
export const credentialOf = ({ carriedIn, incoming }: Exchange): string | null =>
  carriedIn === "" ? null : incoming.head.fields.get(carriedIn);

import { IdempotentAnswers } from "../admin/idempotency.ts";
import { refusalOf } from "../admin/refusals.ts";
import type { Exchange } from "../exchange/exchange.ts";
import type { Answerer } from "../exchange/line.ts";
import { ME_KEYS_PATH, type OwnName } from "../exchange/own-paths.ts";
import { Changes } from "../selfservice/changes.ts";
import { type Asker, KeysAnswerer } from "../selfservice/keys-answerer.ts";
import { Links } from "../selfservice/links.ts";
import { MyAnswerer } from "../selfservice/my-answerer.ts";
import { holderOf, OwnKeys } from "../selfservice/own-keys.ts";
import { Standing } from "../selfservice/standing.ts";
import { browserOf } from "../sessions/browser.ts";
import { USUAL_RULES } from "../tiers/settings.ts";
import type { Ground } from "./ground.ts";
import { SETTLED, SETTLED_WITHIN } from "./picture.ts";
import type { Services } from "./services.ts";
import type { Snapshots } from "./snapshots.ts";

/** Opens the links by which operators let consumers in. */
export const openLinks = ({ audit, inForce }: Ground, { sessions, tokens, records: { registry } }: Services, snapshots: Snapshots): Links =>
  new Links({
    ...{ sessions, audit, registry, tokens },
    whyNot: () => {
      if (inForce.config.selfService === null)
        return "There is no page for consumers: set selfService in the gateway's configuration to {}.";
      return snapshots.current.router.findOwn("GET", "/my")?.own === "my"
        ? null
        : "A route stands in the way of /my, the page for consumers.";
    },
  });

/** Makes the answerers of what consumers ask about themselves, with a key or let in by a link. */
export function selfServiceAnswerers(
  ground: Ground,
  services: Services,
  links: Links,
  snapshots: Snapshots,
): Readonly<Record<Extract<OwnName, "me" | "me-rotate" | "me-keys" | "my-api">, Answerer>> {
  const { clock, inForce } = ground;
  const { guard, limits, usage, records } = services;
  const { keys, registry, tiers } = records;
  const standing = new Standing({ keys, registry, limiter: limits.limiter, usage, clock, routes: () => snapshots.all });
  const changes = openChanges(ground, services);
  const own = new OwnKeys({ keys, registry, clock, rulesOf: (tier) => tiers.get(tier)?.document.selfService ?? USUAL_RULES });
  const answerer = new KeysAnswerer(own, changes);
  const my = new MyAnswerer({
    ...{ links, guard, standing, changes, keys: answerer },
    browserOf: ({ incoming, snapshot }) => browserOf(incoming, snapshot.trustedProxies, inForce.config.admin),
  });
  const askerOf = (exchange: Exchange): Asker => ({
    holder: holderOf(exchange.caller, exchange.secret),
    credential: credentialOf(exchange),
  });
  return {
    me: (exchange) => standing.answer(exchange),
    "me-rotate": (exchange) => answerer.rotate(exchange, () => askerOf(exchange), null),
    "me-keys": (exchange) => answerer.answer(exchange, exchange.path.slice(ME_KEYS_PATH.length), () => askerOf(exchange)),
    "my-api": (exchange) => my.answer(exchange),
  };
}

function openChanges({ clock, audit, bus, feed, guarded, link, storage, writability }: Ground, services: Services): Changes {
  const { replication, applyRemoteChanges } = services;
  return new Changes({
    audit,
    answers: new IdempotentAnswers(storage, clock, link),
    catchUp: () => guarded(() => feed.poll(applyRemoteChanges)),
    write: replication === null ? null : (work) => replication.write(work),
    // What was revoked is refused at once, whichever worker is asked next.
    settled: async () => (bus.role === "keeper" ? bus.askAll(SETTLED, null, SETTLED_WITHIN) : null),
    refusalOf: (error) => refusalOf(error, (failed) => (writability.failed(failed) ? writability.state : null)),
  });
}

/** Gives the field that shows who calls, as it came; `null`: it is in none. */
const credentialOf = ({ carriedIn, incoming }: Exchange): string | null => (carriedIn === "" ? null : incoming.head.fields.get(carriedIn));

import type { Activities } from "../activities/activities.ts";
import { activitiesAdmin } from "../activities/admin.ts";
import { auditAdmin } from "../audit/admin.ts";
import type { Audit } from "../audit/audit.ts";
import { backupAdmin } from "../backups/admin.ts";
import { type CacheView, cacheAdmin } from "../cache/admin.ts";
import { consumersAdmin } from "../consumers/admin.ts";
import type { Consumers } from "../consumers/consumers.ts";
import { certificatesAdmin } from "../edge/admin.ts";
import type { Standing } from "../edge/certificates.ts";
import { eventsAdmin } from "../events/admin.ts";
import type { EventHub } from "../events/hub.ts";
import { type ExplainAdminDeps, explainAdmin } from "../explain/admin.ts";
import { blocksAdmin } from "../guard/admin.ts";
import type { Guard } from "../guard/guard.ts";
import { healthAdmin } from "../health/admin.ts";
import type { SystemHealth } from "../health/health.ts";
import type { Warnings } from "../health/warnings.ts";
import { historyAdmin } from "../history/admin.ts";
import type { History } from "../history/history.ts";
import { IssuerState } from "../issuers/admin.ts";
import { IssuerConfig } from "../issuers/settings.ts";
import { keysAdmin } from "../keys/admin.ts";
import type { Keys } from "../keys/keys.ts";
import { type LimitsAdminDeps, limitsAdmin } from "../limits/admin.ts";
import { type ModelsAdminDeps, modelsAdmin } from "../models/admin.ts";
import { PoolState, poolsAdmin } from "../pools/admin.ts";
import type { Pools } from "../pools/pools.ts";
import { PoolConfig } from "../pools/settings.ts";
import { type PricesView, pricesAdmin } from "../prices/admin.ts";
import { documentsAdmin } from "../records/admin.ts";
import type { Documents } from "../records/documents.ts";
import { RouteConfig } from "../routes/settings.ts";
import { type LinksAdminDeps, linksAdmin } from "../selfservice/admin.ts";
import { type ShadowAdminDeps, shadowAdmin } from "../shadow/admin.ts";
import { type StatsDeps, statsAdmin } from "../stats/admin.ts";
import type { Log, LogState } from "../telemetry/log.ts";
import { logAdmin } from "../telemetry/log-admin.ts";
import { TierConfig } from "../tiers/settings.ts";
import { breakersAdmin } from "../upstreams/admin.ts";
import type { CountsInAll } from "../upstreams/in-all.ts";
import type { Upstreams } from "../upstreams/registry.ts";
import { UpstreamConfig } from "../upstreams/settings.ts";
import { usageAdmin } from "../usage/admin.ts";
import type { Usage } from "../usage/usage.ts";
import { versionsAdmin } from "../versions/admin.ts";
import { configFileAdmin } from "../versions/file-admin.ts";
import type { State } from "../versions/state.ts";
import { stateAdmin } from "../versions/state-admin.ts";
import type { Versions } from "../versions/versions.ts";
import {
  LOCAL_PATHS,
  madeForWebhook,
  UNNAMED_WEBHOOK,
  WebhookState,
  type WebhooksAdminDeps,
  webhookState,
  webhooksAdmin,
} from "../webhooks/admin.ts";
import { WebhookConfig } from "../webhooks/settings.ts";
import { type ConfigView, configAdmin } from "./config.ts";
import type { Holders } from "./holders.ts";
import { type McpAdminDeps, mcpAdmin } from "./mcp/admin.ts";
import { type AdminResource, own, recordsOf } from "./resource.ts";
import { OPEN_TO_ALL, type SessionAdminDeps, sessionAdmin } from "./session.ts";
import { type AdminTokens, tokensAdmin } from "./tokens.ts";
import type { Visits } from "./visits.ts";

/** Holds what the resources show and change. */
export interface ResourceDeps extends LimitsAdminDeps {
  readonly tokens: AdminTokens;
  readonly holders: Holders;
  readonly visits: Visits;
  readonly session: SessionAdminDeps;
  readonly selfService: LinksAdminDeps;
  readonly guard: Guard;
  readonly audit: Audit;
  readonly usage: Usage;
  readonly history: History;
  readonly shadow: ShadowAdminDeps;
  readonly databasePath: string;
  readonly health: SystemHealth;
  readonly components: () => Record<string, string>;
  readonly warnings: Warnings;
  readonly consumers: Consumers;
  readonly keys: Keys;
  readonly tiers: Documents<TierConfig>;
  readonly routes: Documents<RouteConfig>;
  readonly upstreamDocuments: Documents<UpstreamConfig>;
  readonly pools: Pools;
  readonly poolDocuments: Documents<PoolConfig>;
  readonly issuerDocuments: Documents<IssuerConfig>;
  /** Tells whether an issuer's tokens can be judged. */
  readonly issuerState: (name: string) => unknown;
  /** Tells what is left to each key of a pool. */
  readonly poolState: (name: string) => unknown;
  /** Gives what takes activities; `null` while there are none. */
  readonly activities: () => Activities | null;
  readonly upstreams: Upstreams;
  readonly events: EventHub;
  /** Tells whether the admin API may be used from an address. */
  readonly admits: (ip: string) => boolean;
  readonly explain: ExplainAdminDeps;
  readonly stats: StatsDeps;
  readonly mcp: McpAdminDeps;
  /** The log; `null`: nothing is logged. */
  readonly log: Log | null;
  readonly models: ModelsAdminDeps;
  readonly cache: CacheView;
  readonly prices: PricesView;
  /** Gives what all processes of the gateway know of targets. */
  readonly inAll: CountsInAll;
  /** Gives the lines of the log that found no room, in all processes. */
  readonly droppedInAll: () => Promise<LogState["dropped"]>;
  readonly config: ConfigView;
  readonly versions: Versions;
  readonly hooks: WebhooksAdminDeps;
  readonly state: State;
  /** Tells how it stands with each place that certificates come from. */
  readonly certificates: () => readonly Standing[];
}

/** Every role may send messages, and is told which method is the one for it: clients of older versions end sessions by DELETE. */
const MCP_ROLES = { "POST ": "viewer", "DELETE ": "viewer", "PUT ": "viewer", "PATCH ": "viewer" } as const;

/**
 * Lists all that the admin API has, in the order of its documentation: each with the least role that may change something there, which for
 * records stands in their kind's row.
 */
export const adminResources = (deps: ResourceDeps): readonly AdminResource[] => [
  own(healthAdmin(deps.health, deps.components, deps.audit, deps.warnings), "operator"),
  recordsOf("consumer", consumersAdmin(deps.consumers, deps.keys), linksAdmin(deps.selfService)),
  recordsOf("key", keysAdmin(deps.keys)),
  recordsOf("tier", documentsAdmin(deps.tiers, { schema: TierConfig, isNamedWithin: false })),
  recordsOf(
    "route",
    documentsAdmin(deps.routes, {
      schema: RouteConfig,
      isNamedWithin: true,
      unnamed: { words: "its path", of: ({ path }) => path },
      searched: { words: ", path, hosts or upstream", of: ({ path, hosts, upstream }) => [path, ...hosts, upstream ?? ""] },
    }),
  ),
  recordsOf(
    "upstream",
    documentsAdmin(deps.upstreamDocuments, {
      schema: UpstreamConfig,
      isNamedWithin: false,
      searched: { words: " or their targets' URLs", of: ({ targets }) => targets.map(({ url }) => url) },
    }),
  ),
  recordsOf(
    "pool",
    documentsAdmin(deps.poolDocuments, {
      schema: PoolConfig,
      isNamedWithin: false,
      refresh: () => deps.pools.refresh(),
      more: { schema: { state: PoolState }, of: (name) => ({ state: deps.poolState(name) }) },
    }),
    poolsAdmin(deps.pools, deps.audit),
  ),
  recordsOf(
    "issuer",
    documentsAdmin(deps.issuerDocuments, {
      schema: IssuerConfig,
      isNamedWithin: false,
      more: { schema: { state: IssuerState }, of: (name) => ({ state: deps.issuerState(name) }) },
    }),
  ),
  {
    ...recordsOf(
      "webhook",
      documentsAdmin(deps.hooks.documents, {
        schema: WebhookConfig,
        isNamedWithin: false,
        unnamed: UNNAMED_WEBHOOK,
        made: madeForWebhook,
        more: { schema: { state: WebhookState }, of: (name) => ({ state: webhookState(name, deps.hooks) }) },
      }),
      webhooksAdmin(deps.hooks),
    ),
    local: LOCAL_PATHS,
  },
  own(modelsAdmin(deps.models), "admin"),
  own(certificatesAdmin(deps.certificates), "admin"),
  own(breakersAdmin(deps.upstreams, deps.clock, deps.audit, deps.inAll), "operator"),
  own(cacheAdmin(deps.cache, deps.audit), "operator"),
  own(pricesAdmin(deps.prices), "admin"),
  recordsOf("block", blocksAdmin(deps.guard, deps.audit)),
  own(activitiesAdmin(deps.activities, deps.audit), "admin"),
  own(auditAdmin(deps.audit), "admin"),
  own(usageAdmin(deps.usage, deps.clock), "admin"),
  own(historyAdmin(deps), "admin"),
  recordsOf("token", tokensAdmin(deps.tokens)),
  own(sessionAdmin(deps.session), "viewer", {}, OPEN_TO_ALL),
  own(mcpAdmin(deps.mcp, deps.visits, deps.audit), "admin", MCP_ROLES),
  own(backupAdmin(deps.databasePath, deps.audit), "admin"),
  own(limitsAdmin(deps), "operator"),
  // What it arms may be a record that instances share.
  { ...own(shadowAdmin(deps.shadow), "admin"), isShared: true },
  // They take keys, which belong in no URL: POSTs that only look.
  own(explainAdmin(deps.explain), "admin", { "POST /request": "viewer", "POST /find": "viewer" }),
  own(statsAdmin(deps.stats), "admin"),
  own(logAdmin(deps.log, deps.audit, deps.droppedInAll), "operator"),
  own(
    eventsAdmin(deps.events, (request) => {
      const { ip, browser } = deps.visits.of(request);
      const [authorization, cookie] = ["authorization", "cookie"].map((name) => request.headers.get(name)) as [
        string | null,
        string | null,
      ];
      return () => deps.admits(ip) && deps.holders.isKnown(authorization, cookie, browser);
    }),
    "admin",
  ),
  own([configAdmin(deps.config), configFileAdmin(deps.versions)], "admin", { "POST /reload": "operator" }),
  recordsOf("version", versionsAdmin(deps.versions)),
  recordsOf("version", stateAdmin(deps.state)),
];

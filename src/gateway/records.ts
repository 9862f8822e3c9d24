import type { TSchema } from "@sinclair/typebox";
import type { Audit } from "../audit/audit.ts";
import { takeNotYet } from "../config/not-yet.ts";
import type { Config } from "../config/schema.ts";
import type { Known } from "../config/section.ts";
import { Consumers } from "../consumers/consumers.ts";
import { DEMO_UPSTREAMS } from "../demo/settings.ts";
import { HAND_OUT_PATH, isHandOut, takenBySection, wantedOf } from "../exchange/own-paths.ts";
import { askedPlaces, ISSUER_NAMES, IssuerConfig, isIssuerOf, issuerFaults, isUrl } from "../issuers/settings.ts";
import { Keys } from "../keys/keys.ts";
import { KnownMetadata } from "../keys/metadata.ts";
import { KeyRegistry } from "../keys/registry.ts";
import { StoredRecords } from "../keys/stored.ts";
import { quotaList } from "../limits/settings.ts";
import { PoolConfig, poolFaults } from "../pools/settings.ts";
import type { Follower } from "../records/changes.ts";
import { Documents, type Item } from "../records/documents.ts";
import { DOCUMENT_KINDS, type DocumentKind, KINDS, type Kind, withArticle } from "../records/kinds.ts";
import type { Secrets } from "../records/sealing.ts";
import type { StagedDocument, WriteDown } from "../records/staged.ts";
import { overlap } from "../routes/overlap.ts";
import { ROUTE_NAMES, RouteConfig, routeFaults } from "../routes/settings.ts";
import type { Fault } from "../schema/faults.ts";
import { fillIn } from "../schema/fill-in.ts";
import { masksIn } from "../schema/secrets.ts";
import type { Bus } from "../shared/bus.ts";
import type { Storage } from "../storage/open.ts";
import { TierConfig, tierFaults } from "../tiers/settings.ts";
import { upstreamFault } from "../upstreams/allow.ts";
import { UpstreamConfig, upstreamFaults } from "../upstreams/settings.ts";
import { isAddress } from "../upstreams/unix-target.ts";
import type { Clock } from "../values/clock.ts";
import { destinationFault } from "../webhooks/destination.ts";
import { MAX_WEBHOOKS, WebhookConfig, webhookFaults, webhookNameOf } from "../webhooks/settings.ts";

export interface RecordsDeps {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly audit: Audit;
  /** Gives the configuration in force. */
  readonly config: () => Config;
  /** Tells that routes or upstreams were changed. */
  readonly onRoutes: () => void;
  /** Tells that pools were changed. */
  readonly onPools: () => void;
  /** Tells that issuers were changed. */
  readonly onIssuers: () => void;
  /** Tells that webhooks were changed. */
  readonly onWebhooks: () => void;
  /** Seals values that must not be stored as they are. */
  readonly secrets: Secrets;
  readonly bus: Bus;
  /** Writes down changes of documents as a version. */
  readonly writeDown: WriteDown;
  /** Ends what lets a consumer in to the page for consumers. */
  readonly endSessions: (consumer: string) => void;
  /** Learns why a record can't be read, or be handed to the keeper. */
  readonly onFault: (error: unknown) => void;
}

/**
 * Holds everything that has a name: tiers, upstreams, routes, pools, issuers, webhooks, consumers and their keys, declared by the file and made by the admin API,
 * side by side.
 */
export class Records {
  readonly registry: KeyRegistry;
  readonly tiers: Documents<TierConfig>;
  readonly upstreams: Documents<UpstreamConfig>;
  readonly routes: Documents<RouteConfig>;
  readonly pools: Documents<PoolConfig>;
  readonly issuers: Documents<IssuerConfig>;
  readonly webhooks: Documents<WebhookConfig>;
  readonly consumers: Consumers;
  readonly keys: Keys;
  readonly metadata: KnownMetadata;
  /** All that are named documents, by their kinds: a new kind is a row here. */
  readonly documents: Readonly<Record<DocumentKind, Documents<object>>>;
  private readonly deps: RecordsDeps;
  /** The configuration that `asIf` takes to be in force. */
  private supposed: Config | null = null;
  /** The followers that take over changes of the kinds of records that are here. */
  readonly followers: Readonly<Record<Exclude<Kind, "block" | "token" | "session" | "version">, Follower>>;

  /** Reads the records that the admin API has made from the database. */
  constructor(given: RecordsDeps) {
    const deps: RecordsDeps = { ...given, config: () => this.supposed ?? given.config() };
    this.deps = deps;
    const { storage, clock, audit, config, bus, endSessions, onFault } = deps;
    const stored = new StoredRecords(storage.client);
    this.registry = new KeyRegistry(
      // A tier that was deleted under its consumers must not leave them without limits: they are treated like callers without a key.
      (tier) => {
        const document = (this.tiers.get(tier) ?? this.tiers.get(config().anonymousTier))?.document;
        return { limits: document?.limits ?? [], quota: quotaList(document?.quota) };
      },
      () => config().anonymousTier,
      stored,
      onFault,
    );
    this.tiers = tierDocuments(deps, this);
    this.upstreams = upstreamDocuments(deps, this);
    this.routes = routeDocuments(deps, this);
    this.pools = poolDocuments(deps, this);
    this.issuers = issuerDocuments(deps, this);
    this.webhooks = webhookDocuments(deps, this);
    this.consumers = new Consumers({ storage, clock, audit, registry: this.registry, known: () => this.known(), endSessions });
    this.keys = new Keys({ storage, clock, audit, registry: this.registry, stored, bus, onFault });
    this.metadata = new KnownMetadata({
      registry: this.registry,
      ofKey: (id) => this.keys.metadataOf(id),
      ofConsumer: (id) => this.consumers.metadataOf(id),
    });

    const { consumers, keys, tiers, upstreams, routes, pools, issuers, webhooks } = this;
    this.documents = { tier: tiers, pool: pools, issuer: issuers, upstream: upstreams, route: routes, webhook: webhooks };
    for (const each of [...Object.values(this.documents), keys]) each.load();
    this.followers = { ...this.documents, consumer: consumers, key: keys };
  }

  /**
   * Runs `work` as if these documents were in force, with what `next` declares in the place of what is declared now; `null`: what is. Nothing of it
   * stays, and nobody sees it: `work` must not wait.
   */
  asIf<T>(staged: readonly StagedDocument[], next: Config | null, work: (clashes: readonly Fault[]) => T): T {
    if (staged.length === 0 && next === null) return work([]);
    const puttingBack = DOCUMENT_KINDS.map((kind) => this.documents[kind].remembered());
    try {
      if (next !== null) {
        this.supposed = next;
        this.declareDocuments(next);
      }
      const clashes = staged.flatMap(({ kind, name, text }): Fault[] => {
        const message = this.documents[kind].pretend(name, text);
        return message === null ? [] : [{ path: [KINDS[kind].path, name], message }];
      });
      return work(clashes);
    } finally {
      this.supposed = null;
      for (const putBack of puttingBack) putBack();
    }
  }

  /** Takes over documents that were stored; whoever calls it tells that records were changed. */
  takeOver(staged: readonly StagedDocument[]): void {
    for (const { kind, name } of staged) this.documents[kind].refresh(name);
    if (staged.length > 0) this.registry.invalidate();
  }

  /** Gives the names that records may refer to. */
  known(): Known {
    const config = this.deps.config();
    const { demo, activities, admin } = config;
    const pools = this.pools.names();
    return {
      tiers: this.tiers.names(),
      upstreams: new Set([...this.upstreams.names(), ...(demo ? DEMO_UPSTREAMS : [])]),
      pools,
      issuers: this.issuers.names(),
      wanted: wantedOf(config, pools.size > 0),
      activities: activities?.endpoint ?? null,
      hasAdminListener: admin.listen !== null,
    };
  }

  /** Gives the names of the routes for which `isMeant` is true, as in "route shop". */
  routesThat(isMeant: (route: RouteConfig) => boolean): string[] {
    return this.routes
      .all()
      .filter(({ document }) => isMeant(document))
      .map(({ name }) => `route ${name}`);
  }

  /** Gives the names of the issuers for which `isMeant` is true, as in "issuer main". */
  issuersThat(isMeant: (issuer: IssuerConfig) => boolean): string[] {
    return this.issuers
      .all()
      .filter(({ document }) => isMeant(document))
      .map(({ name }) => `issuer ${name}`);
  }

  /**
   * Gives the issuers in force. Of those with the same `issuer` the first counts, and what the file declares comes first: an issuer that
   * another instance made may be one that only this instance's file has.
   */
  issuersInForce(): (readonly [name: string, issuer: IssuerConfig])[] {
    const taken = new Set<string>();
    const rank = ({ source, name }: Item<IssuerConfig>): string => `${source === "config" ? 0 : 1} ${name}`;
    return this.issuers
      .all()
      .sort((a, b) => (rank(a) < rank(b) ? -1 : 1))
      .flatMap(({ name, document }) => {
        if (taken.has(document.issuer)) return [];
        taken.add(document.issuer);
        return [[name, document] as const];
      });
  }

  /**
   * Says why an issuer may not be asked at a URL, which it may itself have named; `null`: it may. One that the admin API made leads only
   * where the API's upstreams could.
   */
  refusesToAsk(name: string, url: string): string | null {
    return this.issuers.isFromApi(name) ? upstreamFault(url, this.deps.config().admin.upstreamAllow) : null;
  }

  /** Gives the faults of a configuration that can't stand beside what the admin API made: the file came later. */
  clashes(next: Config): Fault[] {
    const { tiers, upstreams, pools, issuers, webhooks, routes, consumers, keys } = this;
    const named = (place: "tiers" | "upstreams" | "pools" | "issuers", documents: Documents<object>): Fault[] =>
      Object.keys(next[place])
        .filter((name) => documents.isFromApi(name))
        .map((name) => clash([place, name], documents.kind));
    return [
      ...named("tiers", tiers),
      ...named("upstreams", upstreams),
      ...named("pools", pools),
      ...named("issuers", issuers),
      ...Object.entries(next.issuers).flatMap(([name, { issuer }]): Fault[] => {
        const other = issuers.all().find((each) => each.source === "admin" && each.name !== name && each.document.issuer === issuer);
        return other === undefined ? [] : [{ path: ["issuers", name, "issuer"], message: isIssuerOf(other.name) }];
      }),
      ...next.routes.flatMap((route, i): Fault[] => {
        if (routes.isFromApi(nameOf(route))) return [clash(["routes", i], "route")];
        const other = routes.all().find(({ source, document }) => source === "admin" && overlap(route, document));
        return other === undefined ? [] : [{ path: ["routes", i, "path"], message: takenBy(other.name) }];
      }),
      ...routes.all().flatMap(({ source, name, document: { path } }): Fault[] => {
        // A route of the file at such a path is a fault of its own.
        const section = source === "admin" ? takenBySection(path, wantedOf(next, false)) : null;
        if (section === null) return [];
        const message = `takes ${path} from the route ${JSON.stringify(name)}, which the admin API made: move or delete that first`;
        return [{ path: [section], message }];
      }),
      ...next.webhooks.flatMap((webhook, i) => (webhooks.isFromApi(webhookNameOf(webhook)) ? [clash(["webhooks", i], "webhook")] : [])),
      ...next.consumers.flatMap(({ id }, i) => (consumers.isFromApi(id) ? [clash(["consumers", i], "consumer")] : [])),
      ...keys.clashes(next.consumers),
    ];
  }

  /** Puts a configuration's declarations in the place of those of the one before. `config()` must give the new one already. */
  declare(next: Config): void {
    this.declareDocuments(next);
    this.consumers.declare(next.consumers);
    this.keys.declare(next.consumers);
    this.registry.invalidate();
  }

  private declareDocuments(next: Config): void {
    this.tiers.declare(Object.entries(next.tiers));
    this.upstreams.declare(Object.entries(next.upstreams));
    this.pools.declare(Object.entries(next.pools));
    this.issuers.declare(Object.entries(next.issuers));
    this.webhooks.declare(next.webhooks.map(({ name, ...webhook }) => [webhookNameOf({ name, url: webhook.url }), webhook] as const));
    this.routes.declare(next.routes.map((route) => [nameOf(route), route] as const));
  }
}

/** Makes the documents of tiers: consumers, routes and issuers name them. */
const tierDocuments = ({ storage, clock, audit, writeDown, config }: RecordsDeps, records: Records): Documents<TierConfig> =>
  new Documents<TierConfig>({
    kind: "tier",
    storage,
    clock,
    audit,
    writeDown,
    schema: TierConfig,
    check: (value) => checked(TierConfig, ["tiers", "name"], value, tierFaults),
    usedBy: (name) => [
      ...(config().anonymousTier === name ? ["anonymousTier"] : []),
      ...records.consumers.ofTier(name).map((id) => `consumer ${id}`),
      ...records.routesThat(({ tiers }) => tiers.includes(name)),
      ...records.issuersThat(({ tier }) => tier.default === name || Object.values(tier.map).includes(name)),
    ],
    onChange: () => records.registry.invalidate(),
    reserved: () => [],
  });

/** Makes the documents of upstreams: routes name them. */
const upstreamDocuments = (
  { storage, clock, audit, writeDown, config, onRoutes }: RecordsDeps,
  records: Records,
): Documents<UpstreamConfig> =>
  new Documents<UpstreamConfig>({
    kind: "upstream",
    storage,
    clock,
    audit,
    writeDown,
    schema: UpstreamConfig,
    check: (value) =>
      checked(UpstreamConfig, ["upstreams", "name"], value, (upstream: UpstreamConfig) => {
        const faults = [...upstreamFaults(upstream), ...filesOf(upstream)];
        return faults.length > 0 ? faults : upstream.targets.flatMap(({ url }, i) => refusedUrl(config(), url, ["targets", i, "url"]));
      }),
    usedBy: (name) => records.routesThat(({ upstream }) => upstream === name),
    onChange: onRoutes,
    reserved: () => (config().demo ? DEMO_UPSTREAMS : []),
  });

/** Makes the documents of routes: nothing names them. */
const routeDocuments = ({ storage, clock, audit, writeDown, config, onRoutes }: RecordsDeps, records: Records): Documents<RouteConfig> =>
  new Documents<RouteConfig>({
    kind: "route",
    storage,
    clock,
    audit,
    writeDown,
    schema: RouteConfig,
    names: ROUTE_NAMES,
    check: (value, name) =>
      checked(RouteConfig, ["routes", 0], value, (route: RouteConfig) => {
        const clash = records.routes.all().find((other) => other.name !== name && overlap(route, other.document));
        const taken = clash === undefined ? [] : [{ path: ["path"], message: takenBy(clash.name) }];
        const faults = [...routeFaults(route, records.known()), ...localFiles(route), ...taken];
        if (name !== null && route.name !== undefined && route.name !== name)
          faults.push({ path: ["name"], message: `must be ${JSON.stringify(name)}, by which the route is known` });
        if (faults.length > 0) return faults;
        const asked = route.authorize === null ? [] : refusedUrl(config(), route.authorize.url, ["authorize", "url"]);
        return route.upstream !== null && isAddress(route.upstream)
          ? [...refusedUrl(config(), route.upstream, ["upstream"]), ...asked]
          : asked;
      }),
    usedBy: () => [],
    onChange: onRoutes,
    reserved: () => [],
  });

/** Makes the documents of pools: routes name them, and their secrets are stored sealed. */
const poolDocuments = ({ storage, clock, audit, writeDown, secrets, onPools }: RecordsDeps, records: Records): Documents<PoolConfig> =>
  new Documents<PoolConfig>({
    kind: "pool",
    storage,
    clock,
    audit,
    writeDown,
    schema: PoolConfig,
    check: (value) =>
      checked(PoolConfig, ["pools", "name"], value, (pool: PoolConfig) => {
        const faults = poolFaults(pool);
        // The first pool takes the path from whatever had it.
        const taken = records.pools.names().size > 0 ? undefined : records.routes.all().find(({ document }) => isHandOut(document.path));
        if (taken !== undefined)
          faults.push({
            path: [],
            message: `the route ${JSON.stringify(taken.name)} takes ${HAND_OUT_PATH}, where keys of pools are handed out: move it first`,
          });
        return faults;
      }),
    usedBy: (name) => records.routesThat(({ credential }) => credential?.pool === name),
    secrets,
    onChange: onPools,
    reserved: () => [],
  });

/** Makes the documents of issuers: routes name them, and their secrets are stored sealed. */
const issuerDocuments = (
  { storage, clock, audit, writeDown, config, secrets, onIssuers }: RecordsDeps,
  records: Records,
): Documents<IssuerConfig> =>
  new Documents<IssuerConfig>({
    kind: "issuer",
    storage,
    clock,
    audit,
    writeDown,
    schema: IssuerConfig,
    names: ISSUER_NAMES,
    check: (value, name) =>
      checked(IssuerConfig, ["issuers", "name"], value, (issuer: IssuerConfig) => {
        const faults = issuerFaults(issuer, records.known());
        if (issuer.jwks !== null && !isUrl(issuer.jwks))
          faults.push({ path: ["jwks"], message: "must be a URL: files are named in config.json alone" });
        const other = records.issuers.all().find((each) => each.name !== name && each.document.issuer === issuer.issuer);
        if (other !== undefined) faults.push({ path: ["issuer"], message: isIssuerOf(other.name) });
        return faults.length > 0 ? faults : askedPlaces(issuer).flatMap(({ path, place }) => refusedUrl(config(), place, path));
      }),
    usedBy: (name) => records.routesThat(({ issuers }) => issuers.includes(name)),
    secrets,
    onChange: onIssuers,
    reserved: () => [],
  });

/** Makes the documents of webhooks: nothing names them, and their secrets are stored sealed. */
const webhookDocuments = (
  { storage, clock, audit, writeDown, config, secrets, onWebhooks }: RecordsDeps,
  records: Records,
): Documents<WebhookConfig> =>
  new Documents<WebhookConfig>({
    kind: "webhook",
    storage,
    clock,
    audit,
    writeDown,
    schema: WebhookConfig,
    check: (value, name) =>
      checked(WebhookConfig, ["webhooks", 0], value, (webhook: WebhookConfig) => {
        const faults = webhookFaults(webhook);
        if (name === null && records.webhooks.all().length >= MAX_WEBHOOKS)
          faults.push({ path: [], message: `there are ${MAX_WEBHOOKS} webhooks already, which is the most: delete one first` });
        if (faults.length > 0) return faults;
        const message = destinationFault(webhook.url, config().admin.upstreamAllow);
        return message === null ? [] : [{ path: ["url"], message }];
      }),
    usedBy: () => [],
    secrets,
    onChange: onWebhooks,
    reserved: () => [],
  });

/** Checks a document as one of the configuration file. `place`: its path there. `rules` are asked of documents that the schema allows. */
function checked<T>(
  schema: TSchema,
  place: Fault["path"],
  value: unknown,
  rules: (filled: T) => Fault[],
): { value: unknown; faults: Fault[] } {
  const copy = structuredClone(value);
  const notYet = takeNotYet(copy, place);
  const { value: filled, faults } = fillIn(schema, copy);
  const wrong = faults.length > 0 ? faults : masksIn(schema, filled);
  // The schema has no faults to tell: it is a T.
  return { value: filled, faults: [...notYet, ...wrong, ...(wrong.length === 0 ? rules(filled as T) : [])] };
}

/** Refuses what names files of this machine: whoever may change routes may not choose which programs run here. */
const localFiles = ({ plugins }: RouteConfig): Fault[] =>
  plugins.length === 0
    ? []
    : [{ path: ["plugins"], message: "can't be set by the admin API: name plug-ins in the configuration file, there also for all routes" }];

/** Refuses what names files of this machine, for whoever may change upstreams could have any of them read. */
const filesOf = ({ tls }: UpstreamConfig): Fault[] =>
  (["ca", "cert", "key"] as const)
    .filter((field) => tls !== null && tls[field] !== null)
    .map((field) => ({ path: ["tls", field], message: "can't be set by the admin API: files are named in config.json alone" }));

/** Tells why the admin API takes no such URL. */
function refusedUrl(config: Config, url: string, path: Fault["path"]): Fault[] {
  const message = upstreamFault(url, config.admin.upstreamAllow);
  return message === null ? [] : [{ path, message }];
}

const nameOf = (route: RouteConfig): string => route.name ?? route.path;

const takenBy = (name: string): string => `the route ${JSON.stringify(name)} takes this path already, with a host and a method in common`;

const clash = (path: Fault["path"], kind: Kind): Fault => ({
  path,
  message: `the admin API made ${withArticle(kind)} of this name already: delete that one, or rename this one`,
});

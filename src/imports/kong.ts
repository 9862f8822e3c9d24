import { Draft, durationOf, nameLike, type Part, staticPrefix } from "./draft.ts";
import { carryPlugin, noRules, type Rules } from "./kong-plugins.ts";
import { documentOf, type Place, Unreadable } from "./source.ts";

/** Reads a declarative configuration of Kong, as deck has it. Throws `Unreadable`. */
export function fromKong(file: string, text: string): Draft {
  const root = documentOf(file, text);
  const isKong =
    root.isObject && ["_format_version", "services", "routes", "consumers", "upstreams", "plugins"].some((name) => root.at(name).isThere);
  if (!isKong) throw new Unreadable(file, 1, "is no declarative configuration of Kong: it has neither _format_version nor services");
  return new KongImport(root).draft;
}

/** Parts of a configuration that have no counterpart, and what to do about each. */
const INSTEAD: Readonly<Record<string, string>> = {
  certificates: "put the files into server.tls.certificates",
  ca_certificates: "name the file in the upstream's tls.ca, or in server.tls.clientCertificates.ca",
  snis: "certificates are chosen by the names in them: see server.tls.certificates",
  vaults: "secrets come from the environment: ${NAME}",
  consumer_groups: "make a tier of each group, and give its consumers that tier",
  rbac_roles: "admin tokens have roles: sluice admin tokens",
  filter_chains: "write it anew as a plug-in in TypeScript",
  partials: "write what they hold where it is used",
  custom_entities: "they are of a plug-in that Sluice does not have",
};

class KongImport {
  readonly draft: Draft;
  private readonly everywhere: readonly Place[];
  private readonly paths: "patterns" | "guessed";

  constructor(private readonly root: Place) {
    this.draft = new Draft(root.file);
    // Until version 3 a path was a pattern when it looked like one.
    this.paths = /^[12]\b/.test(root.at("_format_version").text ?? "3") ? "guessed" : "patterns";
    const all = root.at("plugins").items;
    this.everywhere = all.filter((plugin) => !SCOPES.some((scope) => plugin.at(scope).isThere));
    for (const plugin of all) if (plugin.at("consumer_group").isThere && isForAll(plugin)) this.tellOfSome(plugin);
    for (const service of root.at("services").items) this.service(service, all);
    for (const route of root.at("routes").items) this.orphan(route, all);
    for (const consumer of root.at("consumers").items) this.consumer(consumer, all);
    for (const [part, instead] of Object.entries(INSTEAD))
      if (root.at(part).items.length > 0) this.draft.note(root.at(part), `${part} are left out: ${instead}`);
    // What is for all routes stands at each: where there are none, it is told of at least.
    if (this.draft.routes.length === 0) for (const plugin of this.everywhere) carryPlugin(plugin, noRules(), this.draft);
  }

  private service(service: Place, all: readonly Place[]): void {
    const { draft } = this;
    if (service.at("enabled").flag === false) {
      draft.note(service, `the service ${nameOf(service)} is switched off, and left out`);
      return;
    }
    const upstream = this.upstreamOf(service);
    const routes = [...service.at("routes").items, ...this.root.at("routes").items.filter((route) => names(route.at("service"), service))];
    if (routes.length === 0) draft.note(service, `the service ${nameOf(service)} has no route: nothing is forwarded to it`);
    for (const route of routes) this.route(route, upstream, all, service);
  }

  /** Takes a route that stands by itself: one without a service answers by a plug-in alone. */
  private orphan(route: Place, all: readonly Place[]): void {
    const service = route.at("service");
    if (!service.isThere) {
      this.route(route, null, all, null);
      return;
    }
    if (!this.root.at("services").items.some((each) => names(service, each)))
      this.draft.note(service, `the service of the route ${nameOf(route)} is not in this file: the route is left out`);
  }

  private route(route: Place, upstream: string | null, all: readonly Place[], service: Place | null): void {
    const { draft } = this;
    const name = nameOf(route);
    const protocols = route.at("protocols").texts;
    if (protocols.length > 0 && protocols.every((each) => /^(tcp|tls|udp|tls_passthrough)$/.test(each))) {
      draft.note(route, `the route ${name} is left out: Sluice forwards HTTP alone`);
      return;
    }
    if (route.at("expression").isThere) {
      draft.note(route.at("expression"), `the route ${name} is left out: write its expression as path, hosts and methods`);
      return;
    }
    const rules = this.rulesOf(this.pluginsOf(route, service, all));
    const answers = rules.route.respond !== undefined;
    if (upstream === null && !answers) {
      draft.note(route, `the route ${name} is left out: it has no service that it leads to`);
      return;
    }
    if (protocols.length > 0 && protocols.every((each) => /^(https|grpcs|wss|tls.*)$/.test(each)))
      draft.note(
        route.at("protocols"),
        `the route ${name} is for https alone, and here for each port that Sluice listens on: set server.tls.redirect, or serve https alone`,
      );
    for (const field of ["headers", "snis", "sources", "destinations"])
      if (route.at(field).isThere) {
        rules.route.auth = "required";
        draft.note(
          route.at(field),
          `the route ${name} is chosen by ${field} as well, and here by hosts, path and methods alone: it asks for a key ("auth": "required")`,
        );
      }
    const hosts = this.hostsOf(route);
    if (hosts === null) return;
    const methods = route.at("methods").texts.map((method) => method.toUpperCase());
    const paths = route.at("paths").items;
    const timeout = service?.at("read_timeout").number ?? null;
    const retries = service?.at("retries").number ?? null;
    const forwarding = {
      ...(route.at("strip_path").flag === false ? { stripPrefix: false } : {}),
      ...(route.at("preserve_host").flag === true ? { host: "preserve" } : {}),
      ...(timeout === null || timeout < 1 ? {} : { timeout: durationOf(timeout) }),
      ...(retries === null ? {} : { retry: retries === 0 ? null : { attempts: Math.min(10, retries + 1) } }),
    };
    for (const place of paths.length === 0 ? [route] : paths) {
      const path = paths.length === 0 ? "/" : this.pathOf(place, name);
      if (path === null) continue;
      draft.addRoute(
        {
          ...{ name, path },
          ...(methods.length === 0 ? {} : { methods }),
          ...(hosts.length === 0 ? {} : { hosts }),
          ...(answers ? withoutForwarding(rules.route) : { upstream, ...forwarding, auth: "none", ...rules.route }),
          ...(rules.limits.length === 0 ? {} : { limits: rules.limits }),
        },
        place,
      );
    }
  }

  /** Gives the plug-ins that Kong loads for a route, the nearest last: a route's behind its service's behind those of all. */
  private pluginsOf(route: Place, service: Place | null, all: readonly Place[]): readonly Place[] {
    const isOf = (reference: Place, part: Place | null): boolean => !reference.isThere || (part !== null && names(reference, part));
    const near = (plugin: Place): number => (plugin.at("service").isThere ? 1 : 0) + (plugin.at("route").isThere ? 2 : 0);
    const scoped = all.filter((plugin) => near(plugin) > 0);
    const ranked = [
      ...this.everywhere.map((plugin) => [plugin, 0] as const),
      ...(service?.at("plugins").items ?? []).map((plugin) => [plugin, 1 + (plugin.at("route").isThere ? 2 : 0)] as const),
      ...route.at("plugins").items.map((plugin) => [plugin, 2 + (plugin.at("service").isThere ? 1 : 0)] as const),
      ...scoped.map((plugin) => [plugin, near(plugin)] as const),
    ];
    return ranked
      .filter(([plugin]) => isOf(plugin.at("service"), service) && isOf(plugin.at("route"), route))
      .sort(([, a], [, b]) => a - b)
      .map(([plugin]) => plugin);
  }

  private rulesOf(plugins: readonly Place[]): Rules {
    const rules = noRules();
    const nearest = new Map<string | null, Place>();
    for (const plugin of plugins) {
      // Kong does not load it, and takes the next one.
      if (plugin.at("enabled").flag === false) continue;
      if (plugin.at("consumer").isThere || plugin.at("consumer_group").isThere) this.tellOfSome(plugin);
      else nearest.set(plugin.at("name").text, plugin);
    }
    for (const plugin of nearest.values()) carryPlugin(plugin, rules, this.draft);
    const anonymous = [...nearest.values()].map((plugin) => plugin.at("config", "anonymous"));
    if (rules.route.auth === "optional" && anonymous.some((each) => this.isTurnedAway(each))) rules.route.auth = "required";
    return rules;
  }

  /** Tells whether the consumer that stands for callers without a key gets no further than a plug-in of his own. */
  private isTurnedAway(anonymous: Place): boolean {
    return this.root
      .at("consumers")
      .items.filter((consumer) => names(anonymous, consumer))
      .some((consumer) =>
        [...consumer.at("plugins").items, ...this.root.at("plugins").items.filter((each) => names(each.at("consumer"), consumer))].some(
          (plugin) => plugin.at("name").text === "request-termination" && plugin.at("enabled").flag !== false,
        ),
      );
  }

  private tellOfSome(plugin: Place): void {
    this.draft.note(
      plugin,
      `the plug-in ${plugin.at("name").text} is for some consumers alone, and left out: give their tier what it limits`,
    );
  }

  private pathOf(place: Place, name: string): string | null {
    const text = place.text ?? "/";
    const isPattern = text.startsWith("~") || (this.paths === "guessed" && /[^A-Za-z0-9._~/%:@!$&'()*+,;=-]|[*+()$]/.test(text));
    if (!isPattern) return text === "" ? "/" : text;
    const prefix = staticPrefix(text.replace(/^~/, "").replace(/^\^/, "").replaceAll("\\", ""));
    this.draft.note(
      place,
      `the path ${text} of the route ${name} is a pattern, and a route's path is a prefix: the nearest one is ${JSON.stringify(prefix)}, which takes more; write it yourself if that is meant`,
    );
    return null;
  }

  /** Gives the hosts of a route, none for every one; `null`: it has some, and none that a route can have. */
  private hostsOf(route: Place): readonly string[] | null {
    const given = route.at("hosts");
    const hosts = (given.text === null ? given.items : [given]).flatMap((place) => {
      const host = (place.text ?? "").replace(/:\d+$/, "");
      if (/^(\*\.)?[A-Za-z0-9][A-Za-z0-9.-]*$/.test(host)) return [host];
      this.draft.note(place, `the host ${place.text} is left out: only *.example.com is a pattern`);
      return [];
    });
    if (hosts.length > 0 || !given.isThere || given.items.length + given.texts.length === 0) return hosts;
    this.draft.note(given, `no host is left, and the route ${nameOf(route)} with it: without one it would take every one`);
    return null;
  }

  /** Adds the upstream of a service, and gives its name; `null` where there is no address. */
  private upstreamOf(service: Place): string | null {
    const { draft } = this;
    const url = URL.parse(service.at("url").text ?? "");
    const protocol = service.at("protocol").text ?? url?.protocol.replace(":", "") ?? "http";
    const host = service.at("host").text ?? url?.hostname ?? "";
    if (host === "") {
      draft.note(service, `the service ${nameOf(service)} has no address: its routes are left out`);
      return null;
    }
    if (/^(tcp|tls|udp|ws|wss)/.test(protocol))
      draft.note(service, `the protocol ${protocol} is not forwarded: HTTP, gRPC and WebSockets over HTTP are`);
    const isSecure = /s$/.test(protocol);
    const scheme = isSecure ? "https" : "http";
    const port = service.at("port").number ?? (url === null || url.port === "" ? (isSecure ? 443 : 80) : Number(url.port));
    const path = (service.at("path").text ?? url?.pathname ?? "").replace(/\/$/, "");
    const balanced = this.root.at("upstreams").items.find((each) => each.at("name").text === host);
    const authority = (address: string, otherwise: number) => (/:\d+$/.test(address) ? address : `${address}:${otherwise}`);
    const targets =
      balanced === undefined
        ? [{ url: `${scheme}://${port === (isSecure ? 443 : 80) ? host : `${host}:${port}`}${path}` }]
        : this.targetsOf(balanced, (address) => `${scheme}://${authority(address, 8000)}${path}`);
    if (targets.length === 0) {
      draft.note(balanced ?? service, `the upstream ${host} has no targets: put its addresses in`);
      targets.push({ url: `${scheme}://127.0.0.1:${port}${path}` });
    }
    for (const field of ["tls_verify", "ca_certificates", "client_certificate", "tls_verify_depth"])
      if (service.at(field).isThere) draft.note(service.at(field), `${field} is left out: see the upstream's tls`);
    const connect = service.at("connect_timeout").number;
    const config: Part = {
      targets,
      ...(protocol.startsWith("grpc") ? { protocol: "grpc" } : {}),
      ...(connect === null || connect < 1 ? {} : { connectTimeout: durationOf(connect) }),
      ...(balanced === undefined ? {} : this.balancingOf(balanced)),
    };
    return draft.addUpstream(nameOf(service), config, service);
  }

  private targetsOf(upstream: Place, urlOf: (address: string) => string): Part[] {
    return upstream.at("targets").items.flatMap((target) => {
      const address = target.at("target").text;
      const weight = target.at("weight").number ?? 100;
      // A target of weight 0 is one that was taken out.
      if (address === null || weight === 0) return [];
      return [{ url: urlOf(address), ...(weight === 100 ? {} : { weight: Math.min(1000, Math.max(1, weight)) }) }];
    });
  }

  private balancingOf(upstream: Place): Part {
    const { draft } = this;
    const algorithm = upstream.at("algorithm").text;
    const on = upstream.at("hash_on").text ?? "none";
    const header = upstream.at("hash_on_header").text;
    const hashOn: Readonly<Record<string, string>> = {
      consumer: "key",
      ip: "ip",
      ...(header === null ? {} : { header: `header:${header}` }),
    };
    const isHash = algorithm === "consistent-hashing" || (on !== "none" && algorithm !== "least-connections");
    if (isHash && hashOn[on] === undefined)
      draft.note(upstream.at("hash_on"), `hash_on: ${on} is not known here: consistent-hash goes by key`);
    const active = upstream.at("healthchecks", "active");
    const interval = active.at("healthy", "interval").number ?? 0;
    if (upstream.at("healthchecks", "passive").isThere)
      draft.note(
        upstream.at("healthchecks", "passive"),
        "passive health checks are the breaker of each target here, which is on by default",
      );
    return {
      ...(isHash ? { balance: "consistent-hash", hashOn: hashOn[on] ?? "key" } : {}),
      ...(algorithm === "least-connections" || algorithm === "latency" ? { balance: "least-requests" } : {}),
      ...(interval > 0 ? { healthCheck: { path: active.at("http_path").text ?? "/", interval: durationOf(interval * 1000) } } : {}),
    };
  }

  private consumer(consumer: Place, all: readonly Place[]): void {
    const { draft } = this;
    const id = nameLike(consumer.at("username").text ?? consumer.at("custom_id").text ?? consumer.at("id").text ?? "");
    const keys = [...consumer.at("keyauth_credentials").items, ...consumer.at("key_auths").items].flatMap(
      (each) => each.at("key").text ?? [],
    );
    for (const [field, instead] of Object.entries(CREDENTIALS))
      if (consumer.at(field).items.length > 0) draft.note(consumer.at(field), `${field} of ${id} are left out: ${instead}`);
    const rules = noRules();
    for (const plugin of [...consumer.at("plugins").items, ...all.filter((each) => names(each.at("consumer"), consumer))]) {
      const isPartial = plugin.at("service").isThere || plugin.at("route").isThere;
      if (plugin.at("name").text === "rate-limiting" && !isPartial) carryPlugin(plugin, rules, draft);
      else if (!isPartial)
        draft.note(
          plugin,
          `the plug-in ${plugin.at("name").text} of ${id} is left out: consumers have limits and quotas of their own alone`,
        );
    }
    draft.tiers.imported ??= { limits: [] };
    const custom = consumer.at("custom_id").text;
    draft.consumers.push({
      from: consumer,
      config: {
        ...{ id, tier: "imported" },
        ...(keys.length === 0 ? {} : { keys }),
        ...(rules.limits.length === 0 ? {} : { limits: rules.limits.map(({ by: _, ...limit }) => limit) }),
        ...(custom === null || custom === id ? {} : { metadata: { customId: custom } }),
      },
    });
  }
}

const SCOPES = ["service", "route", "consumer", "consumer_group"];

const CREDENTIALS: Readonly<Record<string, string>> = {
  jwt_secrets: "declare an issuer with this secret or key in issuers",
  basicauth_credentials: 'give them keys, which may stand in a password: "identity": { "basic": true }',
  hmacauth_credentials: "give them keys, or client certificates",
  oauth2_credentials: "declare your provider in issuers",
  mtls_auth_credentials: "a record with the id certificate:NAME is such a caller's",
  acls: "give their keys scopes",
  groups: "give them a tier",
};

const nameOf = (place: Place): string => place.at("name").text ?? place.at("id").text ?? place.at("host").text ?? `at-line-${place.line}`;

/** Tells whether a reference, a name or an object with one, means this part. */
function names(reference: Place, part: Place): boolean {
  const name = reference.text ?? reference.at("name").text ?? reference.at("id").text ?? reference.at("username").text;
  if (name === null) return false;
  return [part.at("name").text, part.at("id").text, part.at("username").text].includes(name);
}

const isForAll = (plugin: Place): boolean => !["service", "route", "consumer"].some((scope) => plugin.at(scope).isThere);

/** Leaves out what means nothing where Sluice answers by itself. */
function withoutForwarding(rules: Part): Part {
  const { cache: _, headers, ...rest } = rules;
  const response = (headers as Part | undefined)?.response;
  return { auth: "none", ...rest, ...(response === undefined ? {} : { headers: { response } }) };
}

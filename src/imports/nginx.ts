import { existsSync } from "node:fs";
import { dirname, isAbsolute, join } from "node:path";
import { REDIRECTS } from "../exchange/respond-settings.ts";
import { Draft, type DraftRoute, type Part, staticPrefix } from "./draft.ts";
import { isGuard, isSilent, LEFT_OUT, OF_FILES } from "./nginx-directives.ts";
import { leadsToHttps, listenAsIn, type Server, serversOf } from "./nginx-servers.ts";
import { isForNobody, isGuarded, NO_SETTINGS, routeFields, type Settings, settingsAt, type Zones, zoneOf } from "./nginx-settings.ts";
import { type Directive, directivesOf } from "./nginx-syntax.ts";
import { Unreadable } from "./source.ts";

/** Reads nginx' configuration, or a part of it such as one server, with all that it includes. Throws `Unreadable`. */
export function fromNginx(file: string, text: string): Draft {
  const draft = new Draft(file);
  const all = directivesOf(file, text, draft);
  const http = all.filter(({ name }) => name === "http").flatMap(({ block }) => block ?? []);
  for (const each of all)
    if (each.name === "stream" || each.name === "mail") draft.note(each, `${each.name} is left out: Sluice forwards HTTP alone`);
  const inside = http.length > 0 ? http : all;
  if (!inside.some(({ name }) => /^(server|upstream|location|proxy_pass|return)$/.test(name)) && http.length === 0)
    throw new Unreadable(file, 1, "is no configuration of nginx: it has no http, server or location");
  new NginxImport(inside, dirname(file), draft);
  return draft;
}

class NginxImport {
  private readonly balanced: ReadonlyMap<string, Directive>;
  private readonly zones: Zones;
  /** Tells whether at most one server takes every host. */
  private readonly isAlone: boolean;
  private readonly closed: DraftRoute[] = [];

  constructor(
    http: readonly Directive[],
    private readonly folder: string,
    private readonly draft: Draft,
  ) {
    this.balanced = new Map(http.filter(({ name }) => name === "upstream").map((each) => [each.words[0] ?? "", each]));
    const zones = http.filter(({ name }) => name === "limit_req_zone" || name === "limit_conn_zone");
    this.zones = { limits: new Map(zones.flatMap((each) => [zoneOf(each, draft)].filter((zone) => zone !== null))) };
    const settings = settingsAt(http, NO_SETTINGS, this.zones, draft);
    const proxies = http.filter(({ name }) => name === "set_real_ip_from").flatMap(({ words }) => words.slice(0, 1));
    if (proxies.length > 0) draft.server.trustedProxies = proxies;
    this.tell(http);
    const blocks = http.filter(({ name }) => name === "server");
    // A part of a configuration may be what stands within a server.
    const servers = serversOf(blocks.length > 0 ? blocks : [{ ...(http[0] as Directive), name: "server", words: [], block: http }], draft);
    const isSecured = servers.some(({ listens }) => listens.some(({ isSecure }) => isSecure));
    this.isAlone = servers.filter(({ hosts }) => hosts.length === 0).length < 2;
    for (const server of servers) {
      if (isSecured && leadsToHttps(server))
        draft.note(server.from, "the server that sends callers to https is left out: server.tls.redirect does so");
      else this.server(server, settings);
    }
    // What other servers have at these paths comes first: the same host may have one server for http and one for https.
    for (const { from, config } of this.closed)
      if (draft.routeAt(String(config.path), (config.hosts as string[] | undefined) ?? []) === undefined) draft.addRoute(config, from);
    this.listen(servers);
  }

  private server({ from, hosts }: Server, around: Settings): void {
    const block = from.block ?? [];
    const settings = settingsAt(block, around, this.zones, this.draft);
    this.tell(block);
    const answer = block.find(({ name }) => name === "return");
    for (const each of block) if (each.name === "rewrite") this.tellRewrite(each);
    if (answer !== undefined) {
      // It comes before all locations.
      this.answer("/", answer, hosts, settings);
      return;
    }
    for (const each of block) if (each.name === "location") this.location(each, hosts, settings, block);
    if (!block.some(({ name }) => name === "location")) {
      const files = block.find(({ name }) => name === "root" || name === "try_files" || name === "index");
      if (files !== undefined) this.draft.note(files, OF_FILES);
    }
  }

  private location(from: Directive, hosts: readonly string[], around: Settings, beside: readonly Directive[]): void {
    const { draft } = this;
    const [first = "", second] = from.words;
    const [modifier, path] = second === undefined ? modifierOf(first) : [first, second];
    const block = from.block ?? [];
    if (modifier.startsWith("~")) {
      const prefix = staticPrefix(path.replace(/^\^/, "").replaceAll("\\", ""));
      draft.note(
        from,
        `location ${from.words.join(" ")} is a pattern, and a route's path is a prefix: the nearest one is ${JSON.stringify(prefix)}, which takes more; write it yourself if that is meant: until then other routes take these requests`,
      );
      return;
    }
    if (path.startsWith("@")) {
      draft.note(from, `location ${path} is left out: answers are not passed on inside; see the upstream's targets and breaker`);
      return;
    }
    const own = settingsAt(block, around, this.zones, draft);
    const isWider = modifier === "=" && !isGuarded(own) && this.isGuardedBelow(path, beside, around);
    const settings = isWider ? { ...own, route: { ...own.route, auth: "required" } } : own;
    this.tell(block);
    for (const each of block) if (each.name === "location") this.location(each, hosts, settings, block);
    if (block.some(({ name }) => name === "internal")) {
      draft.addRoute({ ...this.place(path, hosts), respond: { status: 404 }, auth: "none" }, from);
      return;
    }
    const answer = block.find(({ name }) => name === "return");
    const pass = block.find(({ name }) => name === "proxy_pass" || name === "grpc_pass");
    if (modifier === "=" && (answer ?? pass) !== undefined && path !== "/")
      draft.note(
        from,
        `location = ${path} takes this path alone, and the route takes what is below it as well${isWider ? ', which is guarded: it asks for a key ("auth": "required")' : ""}`,
      );
    if (answer !== undefined) this.answer(path, answer, hosts, settings);
    else if (pass !== undefined && modifier === "=" && path === "/")
      draft.note(from, "location = / is left out: a route for / takes everything");
    else if (pass !== undefined) this.pass(path, pass, block, hosts, settings);
    else this.unanswered(path, from, hosts, settings);
  }

  /** Tells whether the location that takes what is below a path keeps callers out. */
  private isGuardedBelow(path: string, beside: readonly Directive[], around: Settings): boolean {
    const below = `${path.replace(/\/$/, "")}/`;
    let length = -1;
    let found: Directive | null = null;
    for (const each of beside) {
      const prefix = each.name !== "location" || /^[=~@]/.test(each.words[0] ?? "~") ? null : (each.words.at(-1) ?? "");
      const taken = prefix?.replace(/^\^~/, "");
      if (taken === undefined || taken.length <= length || !below.startsWith(taken)) continue;
      length = taken.length;
      found = each;
    }
    return found !== null && isGuarded(settingsAt(found.block ?? [], around, this.zones, this.draft));
  }

  /** Takes a location whose answers Sluice does not have. */
  private unanswered(path: string, from: Directive, hosts: readonly string[], settings: Settings): void {
    const block = from.block ?? [];
    for (const each of block) if (each.name === "rewrite") this.tellRewrite(each);
    const isClosed = this.close(path, from, hosts, settings);
    const isTold = block.some(({ name }) => name === "location" || (LEFT_OUT[name] !== undefined && /_pass$/.test(name)));
    if (isTold || (isClosed && isForNobody(settings))) return;
    this.draft.note(from, `location ${from.words.join(" ")} ${isClosed ? "answers 404" : "is left out"}: ${OF_FILES}`);
  }

  /**
   * Makes a route that refuses where callers are kept out of what Sluice can't answer: a broader route would let them in. Tells whether
   * there is one.
   */
  private close(path: string, from: Directive, hosts: readonly string[], settings: Settings): boolean {
    if (!isGuarded(settings)) return false;
    const { ips, auth } = settings.route;
    const isShut = isForNobody(settings);
    const guards = isShut ? { auth: "none" } : { auth: auth ?? "none", ...(ips === undefined ? {} : { ips }) };
    this.draft.addRoute({ ...this.place(path, hosts), respond: { status: isShut ? 403 : 404 }, ...guards }, from);
    return true;
  }

  private pass(path: string, pass: Directive, block: readonly Directive[], hosts: readonly string[], settings: Settings): void {
    const { draft } = this;
    const address =
      /^(https?|grpcs?):\/\/(unix:[^:$]+(?=:|$)|[^/$]+)(?::(?=\/|$))?(?:\$(?:request_uri|uri)(?:\$is_args\$args)?)?(\/[^$]*)?$/.exec(
        /:\/\//.test(pass.words[0] ?? "") ? (pass.words[0] ?? "") : `grpc://${pass.words[0]}`,
      );
    if (address === null) {
      draft.note(pass, `${pass.name} ${pass.words.join(" ")} is left out: its address is known for each request alone`);
      this.close(path, pass, hosts, settings);
      return;
    }
    const [, scheme = "http", authority = "", uri] = address;
    const upstream = this.upstreamOf(scheme, authority, settings, pass);
    const moved = this.rewritten(path, block);
    const prefix = uri === undefined ? moved : uri.replace(/\/+$/, "");
    if (uri !== undefined && uri !== "/" && uri.endsWith("/") !== path.endsWith("/"))
      draft.note(pass, `of ${path} and ${uri} one ends in a slash: here a slash stands between what is put before and what follows`);
    draft.addRoute(
      {
        ...this.place(path, hosts),
        upstream,
        ...(prefix === null ? { stripPrefix: false } : prefix === "" ? {} : { addPrefix: prefix }),
        auth: "none",
        ...routeFields(settings, true),
      },
      pass,
    );
  }

  /** Gives what a rewrite puts in the place of a location's path; `null`: nothing. What does more is noted. */
  private rewritten(path: string, block: readonly Directive[]): string | null {
    for (const rewrite of block.filter(({ name }) => name === "rewrite")) {
      const [pattern = "", to = ""] = rewrite.words;
      const taken = /^\^(\/[^()[\]*+?.\\]*)\(\.\*\)\$?$/.exec(pattern)?.[1];
      const put = /^(\/[^$?]*)?\$1$/.exec(to);
      if (taken !== undefined && put !== null && taken.replace(/\/$/, "") === path.replace(/\/$/, ""))
        return (put[1] ?? "").replace(/\/+$/, "");
      this.tellRewrite(rewrite);
    }
    return null;
  }

  private tellRewrite(rewrite: Directive): void {
    const to = "a route has stripPrefix and addPrefix, or a redirect by respond; for more write a plug-in";
    this.draft.note(rewrite, `rewrite ${rewrite.words.join(" ")} is left out: ${to}`);
  }

  private answer(path: string, answer: Directive, hosts: readonly string[], settings: Settings): void {
    const { draft } = this;
    const [code = "", ...rest] = answer.words;
    const isCode = /^\d{3}$/.test(code);
    const status = isCode ? Number(code) : 302;
    const text = isCode ? rest.join(" ") : code;
    const isRedirect = REDIRECTS.includes(status);
    if (path === "/" && (status === 444 || (status === 404 && text === ""))) {
      if (hosts.length === 0 && this.isAlone) draft.note(answer, `return ${status} is left out: what no route takes is 404`);
      else this.closed.push({ from: answer, config: { ...this.place(path, hosts), respond: { status: 404 }, auth: "none" } });
      return;
    }
    const said = isRedirect ? locationOf(text) : text;
    if (said === null || said.includes("$")) {
      const isRefusal = status >= 400;
      const what = `what it says is known for each request alone`;
      draft.note(answer, `return ${answer.words.join(" ")} is left out${isRefusal ? " but for its status" : ""}: ${what}`);
      if (isRefusal)
        draft.addRoute({ ...this.place(path, hosts), respond: { status }, auth: "none", ...routeFields(settings, false) }, answer);
      else this.close(path, answer, hosts, settings);
      return;
    }
    // A connection is not closed without an answer here.
    const told = status === 444 ? 404 : status;
    const respond: Part = isRedirect ? { status, headers: { Location: said } } : { status: told, ...(said === "" ? {} : { body: said }) };
    draft.addRoute({ ...this.place(path, hosts), respond, auth: "none", ...routeFields(settings, false) }, answer);
  }

  private place(path: string, hosts: readonly string[]): Part {
    const name = hosts.length === 0 ? {} : { name: `${(hosts[0] ?? "").replace("*.", "")}${path}` };
    return { ...name, path: path === "/" ? path : path.replace(/\/+$/, ""), ...(hosts.length === 0 ? {} : { hosts: [...hosts] }) };
  }

  private upstreamOf(scheme: string, authority: string, { connectTimeout }: Settings, from: Directive): string {
    const named = this.balanced.get(authority);
    const urlOf = (address: string): string =>
      address.startsWith("unix:") ? address : `${/s$/.test(scheme) ? "https" : "http"}://${address}`;
    const config: Part = {
      targets: named === undefined ? [{ url: urlOf(authority) }] : this.targetsOf(named, urlOf),
      ...(scheme.startsWith("grpc") ? { protocol: "grpc" } : {}),
      ...(connectTimeout === null ? {} : { connectTimeout }),
      ...(named === undefined ? {} : this.balancingOf(named)),
    };
    return this.draft.addUpstream(authority.replace(/^unix:/, ""), config, named ?? from);
  }

  private targetsOf(upstream: Directive, urlOf: (address: string) => string): Part[] {
    return (upstream.block ?? []).flatMap((each) => {
      if (each.name !== "server") return [];
      const [address = "", ...options] = each.words;
      if (options.includes("down")) return [];
      if (options.includes("backup")) {
        this.draft.note(each, `the target ${address} is left out: there are no targets that only stand in; add it if it may serve always`);
        return [];
      }
      const weight = Number(/^weight=(\d+)$/.exec(options.find((word) => word.startsWith("weight=")) ?? "")?.[1] ?? 1);
      return [{ url: urlOf(address), ...(weight > 1 ? { weight: Math.min(1000, weight) } : {}) }];
    });
  }

  private balancingOf(upstream: Directive): Part {
    const given = (name: string): Directive | undefined => upstream.block?.find((each) => each.name === name);
    const block = upstream.block ?? [];
    for (const each of block)
      if (!/^(server|least_conn|ip_hash|hash|keepalive.*|zone|random|resolver.*|state|queue|ntlm)$/.test(each.name))
        this.draft.note(each, `${each.name} is left out: it has no counterpart at an upstream`);
    if (given("least_conn") !== undefined || given("random") !== undefined) return { balance: "least-requests" };
    if (given("ip_hash") !== undefined) return { balance: "consistent-hash", hashOn: "ip" };
    const hash = given("hash");
    if (hash === undefined) return {};
    const header = /^\$http_([a-z0-9_]+)$/.exec(hash.words[0] ?? "")?.[1];
    if (header === undefined && !/remote_addr$/.test(hash.words[0] ?? ""))
      this.draft.note(hash, `hash ${hash.words[0]} is not known here: callers are told apart by their address`);
    return { balance: "consistent-hash", hashOn: header === undefined ? "ip" : `header:${header.replaceAll("_", "-")}` };
  }

  /** Says where Sluice listens, and with which certificates. */
  private listen(servers: readonly Server[]): void {
    const { draft } = this;
    const { plain, secure } = listenAsIn(servers, draft);
    if (plain !== null) draft.server.port = plain;
    const certificates: Part[] = [];
    for (const { from } of servers) {
      const value = (name: string): Directive | undefined => from.block?.find((each) => each.name === name);
      const [cert, key] = [value("ssl_certificate"), value("ssl_certificate_key")];
      if (cert === undefined || key === undefined) continue;
      const files = [cert, key].map(({ words }) => (isAbsolute(words[0] ?? "") ? (words[0] ?? "") : join(this.folder, words[0] ?? "")));
      const pair = { cert: files[0], key: files[1] };
      const missing = files.find((name) => !existsSync(name));
      if (missing !== undefined) draft.note(cert, `${missing} is not here: name certificate and key in server.tls.certificates`);
      else if (!certificates.some((each) => Bun.deepEquals(each, pair))) {
        draft.tlsFrom ??= cert;
        certificates.push(pair);
      }
    }
    if (secure === null || certificates.length === 0) return;
    if (plain === null) draft.server.port = secure;
    draft.server.tls = { ...(plain === null ? {} : { port: secure }), certificates };
  }

  /** Notes the directives of a level that have no counterpart. */
  private tell(block: readonly Directive[]): void {
    for (const each of block) {
      const instead = Object.hasOwn(LEFT_OUT, each.name) ? LEFT_OUT[each.name] : undefined;
      // How nginx is told to pass WebSockets on, which Sluice does by itself.
      if (each.name === "map" && each.words[0] === "$http_upgrade") continue;
      if (instead === undefined && isSilent(each.name)) continue;
      const until = isGuard(each) ? '; until then the routes that it guards ask for a key ("auth": "required")' : "";
      this.draft.note(each, `${each.name} is left out: ${instead ?? "it has no counterpart"}${until}`);
    }
  }
}

/** Divides a location's path from what stands before it without a space, such as =/path. */
const modifierOf = (word: string): readonly [string, string] => {
  const [, modifier = "", path = word] = /^(=|\^~|~\*|~)(.+)$/.exec(word) ?? [];
  return [modifier, path];
};

/** Writes the place that a redirect leads to in Sluice's words; `null`: it holds what is not known here. */
function locationOf(text: string): string | null {
  const known: Readonly<Record<string, string>> = {
    $request_uri: "{path}{query}",
    $uri: "{path}",
    $document_uri: "{path}",
    $is_args$args: "{query}",
    $host: "{host}",
    $http_host: "{host}",
  };
  const plain = text.replace(/^\$scheme(?=:)/, "https").replace(/[{}]/g, (brace) => (brace === "{" ? "%7B" : "%7D"));
  const location = plain.replace(/\$is_args\$args|\$[a-z_]+/g, (variable) =>
    Object.hasOwn(known, variable) ? (known[variable] as string) : variable,
  );
  // A path begins with a slash of its own.
  const once = location.replace(/^\/(?=\{path\})/, "");
  return once.includes("$") || once === "" ? null : once;
}

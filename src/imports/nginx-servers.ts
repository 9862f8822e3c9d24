import type { Draft } from "./draft.ts";
import type { Directive } from "./nginx-syntax.ts";

/** Is a socket that a server of nginx listens on. */
interface Listening {
  readonly from: Directive;
  /** `null`: every address of the machine. */
  readonly address: string | null;
  /** 0: a socket in the file system. */
  readonly port: number;
  readonly isSecure: boolean;
}

/** Is one server of nginx, as far as its routes need it. */
export interface Server {
  readonly from: Directive;
  /** None: it takes every host. */
  readonly hosts: readonly string[];
  readonly listens: readonly Listening[];
}

/**
 * Reads servers. Those are left out that would be reached by more callers than in nginx: of names that can't be written here, of no name
 * where another server takes what has none, and on other addresses than Sluice's own.
 */
export function serversOf(blocks: readonly Directive[], draft: Draft): readonly Server[] {
  const listening = new Map(blocks.map((block) => [block, listensOf(block, draft)]));
  const listensAt = (block: Directive): readonly Listening[] => listening.get(block) ?? [];
  const defaults = new Map<string, Directive>();
  const claim = (block: Directive, isBinding: boolean): void => {
    const sockets = listensAt(block).filter(({ from }) => isBinding === isDefaultAt(from));
    const keys = listensAt(block).length === 0 && !isBinding ? ["*:80"] : sockets.map(keyOf);
    for (const key of keys) if (!defaults.has(key)) defaults.set(key, block);
  };
  for (const block of blocks) claim(block, true);
  for (const block of blocks) claim(block, false);
  const named = blocks.flatMap((from): Server[] => {
    const hosts = namesOf(from, [...defaults.values()].includes(from), draft);
    return hosts === null ? [] : [{ from, hosts, listens: listensAt(from) }];
  });
  const address = addressOf(named);
  return named.filter(({ listens }) => {
    const [first] = listens;
    if (first === undefined || listens.some((each) => each.address === address)) return true;
    const here = address === null ? "on every address" : `on ${address}`;
    const instead = `Sluice listens ${here}; give it a Sluice of its own`;
    draft.note(first.from, `the server that listens on ${first.from.words[0]} alone is left out, with its routes: ${instead}`);
    return false;
  });
}

/** Says where Sluice listens. Gives the ports. */
export function listenAsIn(servers: readonly Server[], draft: Draft): { readonly plain: number | null; readonly secure: number | null } {
  const listens = servers.flatMap((server) => server.listens);
  const address = addressOf(servers);
  const chosen = listens.filter((each) => each.address === address && each.port > 0);
  const plain = chosen.find(({ isSecure }) => !isSecure)?.port ?? null;
  const secure = chosen.find(({ isSecure }) => isSecure)?.port ?? null;
  for (const { from, isSecure, port, ...each } of listens) {
    if (port === 0) draft.note(from, "a socket to listen on is set by server.unix");
    else if (each.address !== address && address !== null)
      draft.note(from, `the address ${from.words[0]} is left out: server.host is one address`);
    else if (port !== (isSecure ? secure : plain))
      draft.note(
        from,
        `the port ${port} is left out: Sluice listens on one plain port and one for https, where the routes of this server are reached as well; hosts tell servers apart`,
      );
  }
  // Whoever listens on a socket in the file system is for callers on this machine.
  if (address !== null) draft.server.host = address.startsWith("unix:") ? "127.0.0.1" : address.replace(/^\[(.*)\]$/, "$1");
  return { plain, secure };
}

/** Chooses the one address: every one if a server listens there, else that of the first plain socket. */
function addressOf(servers: readonly Server[]): string | null {
  const all = servers.flatMap(({ listens }) => listens);
  if (servers.some(({ listens }) => listens.length === 0) || all.some(({ address }) => address === null)) return null;
  const first = all.find(({ port, isSecure }) => port > 0 && !isSecure) ?? all.find(({ port }) => port > 0) ?? all[0];
  return first?.address ?? null;
}

const EVERY_ADDRESS: readonly string[] = ["", "*", "0.0.0.0", "[::]"];

function listensOf(block: Directive, draft: Draft): readonly Listening[] {
  return (block.block ?? [])
    .filter(({ name }) => name === "listen")
    .map((from) => {
      const [word = ""] = from.words;
      if (from.words.includes("proxy_protocol")) draft.note(from, "name the balancer in server.proxyProtocol");
      const isSecure = from.words.includes("ssl") || from.words.includes("quic");
      if (word.startsWith("unix:")) return { from, address: word, port: 0, isSecure };
      const [, before = "", port] = /^(?:(.*):)?(\d+)$/.exec(word) ?? ["", word, "80"];
      return { from, address: EVERY_ADDRESS.includes(before) ? null : before, port: Number(port), isSecure };
    });
}

const keyOf = ({ address, port }: Listening): string => `${address ?? "*"}:${port}`;

const isDefaultAt = (listen: Directive): boolean => listen.words.includes("default_server") || listen.words.includes("default");

/** Gives the names of a server, none where it takes every host; `null`: nobody would reach it by a name that can be written here. */
function namesOf(server: Directive, isDefault: boolean, draft: Draft): readonly string[] | null {
  const block = server.block ?? [];
  if (block.some((each) => each.name === "listen" && isDefaultAt(each))) return [];
  const given = block.filter(({ name }) => name === "server_name");
  const [first] = given;
  const hosts = given.flatMap((directive) => directive.words.flatMap((word) => hostsOf(word, directive, draft)));
  const isUnnamed = given.length === 0 || given.some(({ words }) => words.some(isNoName));
  if (isUnnamed && isDefault) return [];
  if (hosts.length > 0) return [...new Set(hosts)];
  const why = isUnnamed ? "it has no name, and another server takes what has none" : "without a name they would take every host";
  draft.note(first ?? server, `no name is left, and the routes of this server are left out: ${why}`);
  return null;
}

const isNoName = (word: string): boolean => word === "_" || word === "";

function hostsOf(word: string, from: Directive, draft: Draft): string[] {
  if (isNoName(word)) return [];
  if (/^\.[A-Za-z0-9]/.test(word)) return [word.slice(1), `*${word}`];
  if (/^(\*\.)?[A-Za-z0-9][A-Za-z0-9.-]*$/.test(word)) return [word];
  draft.note(from, `the name ${word} is left out: only *.example.com is a pattern`);
  return [];
}

/** Tells whether all that a server does is to send callers to https. */
export function leadsToHttps({ from, listens }: Server): boolean {
  if (listens.some(({ isSecure }) => isSecure)) return false;
  const block = (from.block ?? []).filter(({ name }) => !/^(listen|server_name|server_tokens|access_log|error_log)$/.test(name));
  // As certbot writes it: each name is asked for by itself, and all else is 404.
  const others = block.filter(({ name, block: inner }) => name !== "if" || inner?.length !== 1 || !isHttps(inner[0]));
  if (others.length < block.length) return others.every(({ name, words }) => name === "return" && words[0] === "404");
  const only = block.length === 1 && block[0]?.name === "location" ? (block[0].block ?? []) : block;
  return only.length === 1 && isHttps(only[0]);
}

const isHttps = (answer: Directive | undefined): boolean =>
  answer?.name === "return" && /^https:\/\/\$(host|server_name|http_host)\$request_uri$/.test(answer.words.at(-1) ?? "");

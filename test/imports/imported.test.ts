import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { stringify } from "yaml";
import { loadConfig } from "../../src/config/load.ts";
import { imported, Unreadable } from "../../src/imports/imported.ts";

type Kind = Parameters<typeof imported>[0];
const FIXTURES = join(import.meta.dir, "fixtures");
const FILES: readonly (readonly [Kind, string])[] = [
  ...["deck-kong", "deck-consumers", "deck-consumer", "deck-route", "deck-upstream", "gateway"].map(
    (name) => ["kong", `${name}.yaml`] as const,
  ),
  ...["petstore-expanded", "uspto", "keys"].map((name) => ["openapi", `${name}.yaml`] as const),
  ...["debian-nginx", "debian-default", "site"].map((name) => ["nginx", `${name}.conf`] as const),
];

const pathOf = (name: string): string => join(FIXTURES, name);
const textOf = (name: string): string => readFileSync(pathOf(name), "utf8");

/** What comes of a fixture; of its notes the line and what is said. */
function of(kind: Kind, name: string) {
  const { config, notes, variables } = imported(kind, pathOf(name), textOf(name));
  return { config, variables, notes: notes.map(({ line, message }) => `${line}: ${message}`) };
}

const holds = (config: object, variables: readonly string[] = []): boolean =>
  !("faults" in loadConfig(JSON.stringify(config), Object.fromEntries(variables.map((name, i) => [name, `from-the-environment-${i}`]))));

describe("what is imported", () => {
  test.each(FILES)("from %s, %s, holds as JSON and as YAML", (kind, name) => {
    const { config, variables } = of(kind, name);
    expect(holds(config, variables)).toBe(true);
    const env = Object.fromEntries(variables.map((each) => [each, "from-the-environment"]));
    expect("config" in loadConfig(stringify(config, { lineWidth: 0 }), env, "config.yaml")).toBe(true);
  });

  test("from Kong has its services, routes, consumers and plug-ins, and names the rest with its line", () => {
    const { config, variables, notes } = of("kong", "gateway.yaml");
    expect(variables).toEqual(["DECK_KEY"]);
    expect(config).toEqual({
      tiers: { anonymous: { limits: [] }, imported: { limits: [] } },
      upstreams: {
        users: {
          targets: [{ url: "http://10.0.0.1:8000/v1" }, { url: "http://10.0.0.2:8000/v1", weight: 10 }],
          balance: "least-requests",
          healthCheck: { path: "/up", interval: "10s" },
        },
        closed: { targets: [{ url: "https://closed.example.com:8443/base" }] },
      },
      routes: [
        {
          ...{ name: "users", path: "/users", methods: ["GET"], hosts: ["api.example.com"], upstream: "users", timeout: "45s" },
          ...{ retry: { attempts: 3 }, auth: "required", maxBodySize: "2mb" },
          cors: { origins: ["https://app.example.com"], credentials: true, maxAge: "10m" },
          headers: { request: { set: { "X-From": "kong" }, remove: ["X-Secret"] } },
          limits: [
            { algorithm: "fixed-window", limit: 5, window: "1s", by: "ip" },
            { algorithm: "fixed-window", limit: 1000, window: "1h", by: "ip" },
          ],
        },
        { name: "closed", path: "/closed", auth: "none", respond: { status: 503, body: { message: "gone" } } },
        {
          name: "moved",
          path: "/moved",
          auth: "none",
          respond: { status: 308, headers: { Location: "https://new.example.com{path}{query}" } },
        },
      ],
      consumers: [
        { id: "acme-corp", tier: "imported", keys: ["${DECK_KEY}"], limits: [{ algorithm: "fixed-window", limit: 10, window: "1m" }] },
      ],
    });
    expect(notes).toEqual([
      expect.stringContaining("16: the plug-in jwt is left out: tokens are taken from issuers"),
      expect.stringContaining(
        '19: the path ~/people/\\d+ of the route users is a pattern, and a route\'s path is a prefix: the nearest one is "/people"',
      ),
      expect.stringContaining("21: the host api.* is left out"),
      expect.stringContaining("26: rename.headers is left out"),
      expect.stringContaining("31: the route admin-only is left out, path: is served by Sluice itself"),
      expect.stringContaining("35: a key of the consumer acme-corp is left out: must be a key of 16 to 512"),
    ]);
  });

  test("from an OpenAPI document has few routes, with the methods and the credential of what is below each", () => {
    const { config, notes } = of("openapi", "keys.yaml");
    const route = { upstream: "shop-api", stripPrefix: false };
    expect(config).toEqual({
      identity: { header: "X-Shop-Key" },
      tiers: { anonymous: { limits: [] } },
      upstreams: { "shop-api": { targets: [{ url: "https://eu.shop.example.com/api" }] } },
      routes: [
        { path: "/v1/orders", methods: ["GET", "POST", "DELETE"], ...route, auth: "required" },
        { path: "/v1/status", methods: ["GET"], ...route, auth: "none" },
        { path: "/v1", ...route, auth: "required" },
      ],
    });
    expect(notes).toEqual([
      expect.stringContaining("4: the server's address has variables: their defaults make https://eu.shop.example.com/api"),
      expect.stringContaining("6: the server https://test.shop.example.com is left out"),
      expect.stringContaining("10: /v1/orders/{id}: a route's path is a prefix"),
      expect.stringContaining("12: the path's operations stand in another file"),
      expect.stringContaining("12: /v1/{tenant}/users: a route's path is a prefix"),
      expect.stringContaining("15: the security scheme key: callers send keys in X-Shop-Key"),
      expect.stringContaining("16: the security scheme login: tokens are taken from issuers"),
    ]);
  });

  test("from nginx has its upstreams, locations, limits and answers, and names the rest with its line", () => {
    const { config, notes } = of("nginx", "site.conf");
    const place = (path: string) => ({
      name: `a.example.com${path}`,
      path: path === "/" ? path : path.replace(/\/$/, ""),
      hosts: ["a.example.com", "*.b.example.com"],
    });
    const headers = { response: { set: { "Strict-Transport-Security": "max-age=31536000" } } };
    const app = { upstream: "app", maxBodySize: "8mb" };
    expect(config).toEqual({
      server: { port: 80 },
      tiers: { anonymous: { limits: [] } },
      upstreams: {
        app: { targets: [{ url: "http://10.0.0.1:8000", weight: 3 }, { url: "unix:/run/app.sock" }], balance: "least-requests" },
        "10.0.0.9-50051": { targets: [{ url: "http://10.0.0.9:50051" }], protocol: "grpc" },
      },
      routes: [
        {
          ...{ ...place("/"), ...app, stripPrefix: false, auth: "none", host: "preserve" },
          limits: [{ algorithm: "gcra", limit: 10, window: "1s", by: "ip", burst: 21 }],
          headers: { request: { set: { "X-Env": "prod" } }, ...headers },
        },
        {
          ...{ ...place("/api/"), ...app, addPrefix: "/v2", auth: "none", timeout: "90s", headers },
          ips: { allow: ["10.0.0.0/8"], deny: ["10.1.0.1"] },
          limits: [{ algorithm: "concurrency", limit: 10, by: "ip" }],
        },
        { ...place("/strip/"), ...app, auth: "required", headers },
        {
          ...place("/old"),
          respond: { status: 301, headers: { Location: "https://new.example.com{path}{query}" } },
          auth: "none",
          headers,
        },
        {
          ...place("/down"),
          respond: { status: 503, body: "back at noon\n" },
          auth: "none",
          headers: { response: { set: { "Retry-After": "3600" } } },
        },
        { ...place("/grpc.Service/"), upstream: "10.0.0.9-50051", stripPrefix: false, maxBodySize: "8mb", auth: "none", headers },
      ],
    });
    expect(notes.map((note) => note.slice(0, note.indexOf(":")))).toEqual(["4", "8", "11", "12", "22", "24", "26", "28", "29", "30", "31"]);
    expect(notes.join("\n")).toContain(
      '26: location ~ ^/img/(.*)\\.png$ is a pattern, and a route\'s path is a prefix: the nearest one is "/img"',
    );
    expect(notes.join("\n")).toContain("31: weird_directive is left out: it has no counterpart");
  });

  test("from Debian's nginx as it comes names that it serves files, which Sluice does not", () => {
    expect(of("nginx", "debian-default.conf").notes).toEqual([
      expect.stringContaining("48: location / is left out: Sluice serves no files"),
      expect.stringContaining("51: try_files is left out"),
    ]);
  });

  test("whom another program keeps out stays out: what guards and can't be carried over leaves a route that asks for a key", () => {
    const auth = (kind: Kind, text: string): unknown => (imported(kind, "x", text).config.routes as { auth: string }[])[0]?.auth;
    for (const name of ["jwt", "basic-auth", "hmac-auth", "acl", "openid-connect", "key-auth", "my-auth"])
      expect(auth("kong", `services: [{ name: s, host: h, routes: [{ paths: [/a] }] }]\nplugins: [{ name: ${name} }]\n`)).toBe("required");
    for (const line of ["auth_basic x;", "auth_request /auth;", "auth_jwt x;"])
      expect(auth("nginx", `server { ${line} location /a { proxy_pass http://h; } }`)).toBe("required");
    expect(auth("nginx", "server { auth_basic off; location /a { proxy_pass http://h; } }")).toBe("none");
    const ips = (list: string): unknown =>
      (imported("nginx", "x", `location /a { proxy_pass http://h; ${list} }`).config.routes as { ips?: object }[])[0]?.ips;
    expect(ips("deny all;")).toEqual({ allow: ["192.0.2.0/32"] });
    expect(ips("allow 10.0.0.1; deny 10.0.0.0/8;")).toEqual({ deny: ["10.0.0.0/8"] });
    expect(ips("allow all;")).toBeUndefined();
  });

  describe("from Kong is never more open than there:", () => {
    const kong = (service: string, more = "") => {
      const { config, notes } = imported("kong", "x", `services:\n- { name: s, url: "http://h", ${service} }\n${more}`);
      const routes = config.routes as Record<string, unknown>[];
      return { routes, notes: notes.map(({ line, message }) => `${line}: ${message}`).join("\n") };
    };

    test("plug-ins that are off, and those of some consumers, stand in nobody's way", () => {
      for (const nearer of ["enabled: false", "consumer: c", "consumer_group: g"])
        expect(
          kong(
            `plugins: [{ name: key-auth }], routes: [{ name: r, paths: [/a], plugins: [{ name: key-auth, config: { anonymous: x }, ${nearer} }] }]`,
          ).routes,
        ).toMatchObject([{ auth: "required" }]);
    });

    test("a plug-in of a service and a route is for that route", () => {
      const allow = (ip: string) => `{ name: ip-restriction, service: s, route: pub, config: { allow: [${ip}] } }`;
      const ips = (text: string) => `{ name: ip-restriction, config: { allow: [${text}] } }`;
      const { routes } = kong(
        `plugins: [${ips("10.0.0.0/8")}], routes: [{ name: own, paths: [/own] }, { name: pub, paths: [/pub], plugins: [${ips("10.1.0.0/16")}] }]`,
        `plugins: [${allow("192.0.2.1")}, { name: key-auth, service: other, route: own }, { name: key-auth, service: s, route: other }]\n`,
      );
      expect(routes).toMatchObject([
        { ips: { allow: ["10.0.0.0/8"] }, auth: "none" },
        { ips: { allow: ["192.0.2.1"] }, auth: "none" },
      ]);
    });

    test("of several plug-ins that ask for a credential the strictest decides", () => {
      const auth = (plugins: string, more = "") => kong(`plugins: [${plugins}], routes: [{ paths: [/a] }]`, more).routes[0]?.auth;
      const anonymous = "{ name: key-auth, config: { anonymous: anon } }";
      expect(auth(anonymous)).toBe("optional");
      expect(auth(`{ name: jwt }, ${anonymous}`)).toBe("required");
      expect(auth(`${anonymous}, { name: jwt }`)).toBe("required");
      expect(auth(anonymous, "consumers: [{ username: anon, plugins: [{ name: request-termination }] }]\n")).toBe("required");
      for (const name of ["saml", "pre-function", "of-our-own", "bot-detection"]) expect(auth(`{ name: ${name} }`)).toBe("required");
      for (const name of ["prometheus", "file-log", "correlation-id"]) expect(auth(`{ name: ${name} }`)).toBe("none");
    });

    test("a route of https, of a pattern for hosts alone, or of more than Sluice chooses by is told of", () => {
      expect(kong("routes: [{ name: r, paths: [/a], protocols: [https] }]").notes).toContain("2: the route r is for https alone");
      const host = kong('routes: [{ name: r, paths: [/a], hosts: ["admin.*"] }]');
      expect([host.routes, host.notes]).toEqual([[], expect.stringContaining("2: no host is left, and the route r with it")]);
      const chosen = kong("routes: [{ name: r, paths: [/a], sources: [{ ip: 10.0.0.0/8 }] }]");
      expect([chosen.routes[0]?.auth, chosen.notes]).toEqual(["required", expect.stringContaining("2: the route r is chosen by sources")]);
      const wrong = kong("routes: [{ name: r, paths: [/a], plugins: [{ name: ip-restriction, config: { allow: [10.0.0.0/99] } }] }]");
      expect([wrong.routes[0]?.auth, wrong.notes]).toEqual([
        "required",
        expect.stringContaining("2: ips.allow[0] of the route r is left out"),
      ]);
    });

    test("an answer for some requests is not one for all, and a redirect leads away", () => {
      const plugin = (text: string) => kong(`routes: [{ name: r, paths: [/a], plugins: [{ ${text} }] }]`);
      const triggered = plugin("name: request-termination, config: { trigger: maintenance }");
      expect(triggered.routes).toMatchObject([{ upstream: "s" }]);
      expect(triggered.notes).toContain("2: request-termination with a trigger is left out");
      const away = plugin("name: redirect, config: { location: /new, keep_incoming_path: true }");
      expect(away.routes).toMatchObject([{ respond: { status: 301, headers: { Location: "/new" } } }]);
      expect(away.notes).toContain("2: keep_incoming_path is left out");
    });
  });

  describe("from nginx is never more open than there:", () => {
    const nginx = (text: string) => {
      const { config, notes } = imported("nginx", "x", text);
      const routes = config.routes as Record<string, unknown>[];
      return { routes, server: config.server, notes: notes.map(({ line, message }) => `${line}: ${message}`).join("\n") };
    };
    const all = "location / { proxy_pass http://h; }";

    test("what nobody gets there is refused, and not taken by a broader route", () => {
      const { routes } = nginx(`server { ${all} location /denied { deny all; } location /within { internal; proxy_pass http://h; }
        location /cut { return 444; } location /said { return 403 "$request_id"; }
        location /files { auth_basic x; root /srv; } location /some { allow 10.0.0.0/8; deny all; root /srv; }
        location /any { auth_basic x; proxy_pass http://$backend; } }`);
      expect(routes.slice(1)).toEqual([
        { path: "/denied", respond: { status: 403 }, auth: "none" },
        { path: "/within", respond: { status: 404 }, auth: "none" },
        expect.objectContaining({ path: "/cut", respond: { status: 404 } }),
        expect.objectContaining({ path: "/said", respond: { status: 403 } }),
        { path: "/files", respond: { status: 404 }, auth: "required" },
        { path: "/some", respond: { status: 404 }, auth: "none", ips: { allow: ["10.0.0.0/8"] } },
        { path: "/any", respond: { status: 404 }, auth: "required" },
      ]);
    });

    test("what is below a single path is as guarded as there", () => {
      const single = (guard: string) =>
        nginx(`server { location / { ${guard} proxy_pass http://h; }\nlocation = /up { proxy_pass http://h; } }`);
      const guarded = single("auth_basic x;");
      expect([guarded.routes[1], guarded.notes]).toEqual([
        expect.objectContaining({ path: "/up", auth: "required" }),
        expect.stringContaining("2: location = /up takes this path alone, and the route takes what is below it as well, which is guarded"),
      ]);
      expect(single("").routes[1]).toMatchObject({ path: "/up", auth: "none" });
    });

    test("what a host refuses is not taken by a server for every host", () => {
      const named = (answer: string) =>
        nginx(`server { listen 80; ${all} }\nserver { listen 80; server_name b.example.com; ${answer} }`).routes.slice(1);
      for (const answer of ["location / { return 404; }", "return 444;", "return 404;"])
        expect(named(answer)).toMatchObject([{ path: "/", hosts: ["b.example.com"], respond: { status: 404 } }]);
      // As certbot writes it beside the server for https.
      const both =
        nginx(`server { listen 80; server_name a.example.com; if ($host = a.example.com) { return 301 https://$host$request_uri; } return 404; }
        server { listen 443 ssl; server_name a.example.com; ${all} }`);
      expect(both.routes).toMatchObject([{ path: "/", upstream: "h", auth: "none" }]);
    });

    test("routes of names that can't be written, or of no name that counts, are left out", () => {
      const pattern = nginx(
        `server { listen 80; ${all} }\nserver { listen 80;\nserver_name ~^x; location /corp { proxy_pass http://h; } }`,
      );
      expect([pattern.routes.length, pattern.notes]).toEqual([
        1,
        expect.stringContaining("3: no name is left, and the routes of this server"),
      ]);
      const second = nginx(`server { listen 80; ${all} }\nserver { listen 80; server_name _; location /corp { proxy_pass http://h; } }`);
      expect([second.routes.length, second.notes]).toEqual([1, expect.stringContaining("2: no name is left")]);
    });

    test("addresses are kept, and routes of another address are left out", () => {
      const one = nginx(`server { listen 127.0.0.1:8081; listen [::1]:8081; ${all} }`);
      expect([one.server, one.notes]).toEqual([
        { host: "127.0.0.1", port: 8081 },
        expect.stringContaining("1: the address [::1]:8081 is left out"),
      ]);
      expect(nginx(`server { listen [::1]:8081; ${all} }`).server).toEqual({ host: "::1", port: 8081 });
      expect(nginx(`server { listen 127.0.0.1; ${all} }`).server).toEqual({ host: "127.0.0.1", port: 80 });
      expect(nginx(`server { listen unix:/run/n.sock; ${all} }`).server).toEqual({ host: "127.0.0.1" });
      for (const listen of ["80", "*:80", "0.0.0.0:80", "[::]:80"])
        expect(nginx(`server { listen ${listen}; ${all} }`).server).toEqual({ port: 80 });
      const two = nginx(`server { listen 127.0.0.1:9000; location /ops { proxy_pass http://h; } }\nserver { listen 80; ${all} }`);
      expect([two.server, two.routes.map(({ path }) => path), two.notes]).toEqual([
        { port: 80 },
        ["/"],
        expect.stringContaining("1: the server that listens on 127.0.0.1:9000 alone is left out"),
      ]);
      const ports = nginx(
        `server { listen 127.0.0.1:80; ${all} }\nserver { listen 127.0.0.1:9000; location /ops { proxy_pass http://h; } }`,
      );
      expect(ports.notes).toContain("2: the port 9000 is left out");
    });

    test("what guards and can't be carried over leaves routes that ask for a key", () => {
      for (const line of [
        ...[
          "access_by_lua_block { ngx.exit(403) }",
          "access_by_lua_file x.lua;",
          "secure_link $arg_md5;",
          "limit_except GET { deny all; }",
        ],
        ...[
          "auth_request /auth;",
          'if ($http_x_secret != "abc") { return 403; }',
          "valid_referers none;",
          "auth_pam x;",
          "modsecurity on;",
        ],
      ]) {
        const { routes, notes } = nginx(`location /a {\n${line} proxy_pass http://h; }`);
        expect([line, routes[0]?.auth, notes]).toEqual([line, "required", expect.stringMatching(/^2: .*"auth": "required"/)]);
      }
      const auth = (text: string) => nginx(`server { ${text} ${all} }`).routes[0]?.auth;
      expect(auth("ssl_verify_client on;")).toBe("required");
      for (const line of ["ssl_verify_client off;", "auth_request off;", "auth_basic_user_file x;", "if ($a) { return 301 https://b/; }"])
        expect([line, auth(line)]).toEqual([line, "none"]);
    });
  });

  test("a redirect of nginx to a path leads to this host alone", () => {
    const leads = (to: string): unknown =>
      (imported("nginx", "x", `location /a { return 301 ${to}; }`).config.routes as { respond: { headers: object } }[])[0]?.respond.headers;
    expect(leads("/$request_uri")).toEqual({ Location: "{path}{query}" });
    expect(leads("/$uri")).toEqual({ Location: "{path}" });
    expect(leads("/new$request_uri")).toEqual({ Location: "/new{path}{query}" });
    expect(leads("https://$request_uri")).toBeUndefined();
  });

  test("is nothing where a file is not what it is said to be: that is told with its line", () => {
    const fault = (kind: Kind, text: string): string => {
      try {
        return JSON.stringify(imported(kind, "f", text).config);
      } catch (error) {
        if (!(error instanceof Unreadable)) throw error;
        return `${error.file}:${error.line}: ${error.message}`;
      }
    };
    expect(fault("kong", "a: b\n")).toContain("f:1: is no declarative configuration of Kong");
    expect(fault("kong", "services:\n  - a: [\n")).toMatch(/^f:\d: this is not YAML/);
    expect(fault("openapi", "{}")).toContain("f:1: is no OpenAPI document");
    expect(fault("openapi", '{\n "openapi": ]')).toMatch(/^f:2: /);
    expect(fault("nginx", "server {\n location / {\n")).toBe("f:2: the block location has no end");
    expect(fault("nginx", "server {}\n}\n")).toBe('f:2: unexpected "}"');
    expect(fault("nginx", 'server { add_header A "b;\n}')).toBe("f:1: this text has no closing quote");
    expect(fault("nginx", "x y;")).toContain("is no configuration of nginx");
    expect(fault("nginx", "{".repeat(50_000))).toContain("f:1: ");
    expect(fault("nginx", "a {".repeat(50_000))).toContain("too many levels");
    expect(fault("openapi", "[".repeat(50_000))).toMatch(/^f:\d+: /);
  });

  test("never comes of a crash, and always holds, whatever is changed in a file", () => {
    const junk = fc.constantFrom(
      "",
      "{",
      "}",
      "[",
      "]",
      ":",
      ";",
      '"',
      "'",
      "#",
      "\n",
      " ",
      "$",
      "${",
      "~",
      "/",
      "*",
      "-1",
      "null",
      "é",
      "\0",
      "&a ",
      "*a",
      "9".repeat(30),
      "../..",
    );
    fc.assert(
      fc.property(fc.constantFrom(...FILES), fc.array(fc.tuple(fc.nat(), fc.nat(12), junk), { maxLength: 4 }), ([kind, name], changes) => {
        let text = textOf(name);
        for (const [where, length, put] of changes) {
          const at = where % (text.length + 1);
          text = text.slice(0, at) + put + text.slice(at + length);
        }
        try {
          const { config, variables } = imported(kind, pathOf(name), text);
          expect(holds(config, variables)).toBe(true);
        } catch (error) {
          if (!(error instanceof Unreadable)) throw error;
        }
      }),
      { numRuns: 150 },
    );
  });

  test("never comes of a crash where values of another kind stand in their places", () => {
    const value = fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.constantFrom("${X}", "{a}", "https://[", "http://h:99999", "/a/../b", -1));
    for (const [kind, name] of FILES.filter(([each]) => each !== "nginx")) {
      const loaded = Bun.YAML.parse(textOf(name).replaceAll("${{", "${ {")) as object;
      const places: (readonly (string | number)[])[] = [];
      const walk = (here: unknown, path: readonly (string | number)[]): void => {
        places.push(path);
        if (typeof here === "object" && here !== null)
          for (const [key, child] of Object.entries(here)) walk(child, [...path, Array.isArray(here) ? Number(key) : key]);
      };
      walk(loaded, []);
      fc.assert(
        fc.property(fc.constantFrom(...places.slice(1)), value, (path, put) => {
          const changed = structuredClone(loaded);
          // biome-ignore lint/suspicious/noExplicitAny: any document
          let here: any = changed;
          for (const step of path.slice(0, -1)) here = here[step];
          here[path.at(-1) as string] = put;
          try {
            const { config, variables } = imported(kind, name, JSON.stringify(changed));
            expect(holds(config, variables)).toBe(true);
          } catch (error) {
            if (!(error instanceof Unreadable)) throw error;
          }
        }),
        { numRuns: 25 },
      );
    }
  });
});

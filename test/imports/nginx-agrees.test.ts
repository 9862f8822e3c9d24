// Real nginx and Sluice with what was imported from its configuration, before the same backend.
import { afterAll, beforeAll, expect } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { imported } from "../../src/imports/imported.ts";
import { lines } from "../support/lines.ts";
import { type Folder, folder, freePort } from "../support/process.ts";
import { having, programAt } from "../support/programs.ts";
import { serving } from "../support/serving.ts";
import { until } from "../support/until.ts";

const NGINX = programAt("nginx");
const { test: withNginx } = having("nginx");
let home: Folder;
let behind: Awaited<ReturnType<typeof lines>>;
let nginx: Bun.Subprocess | null = null;
let gateway: ReturnType<typeof serving>;
let port = 0;

beforeAll(async () => {
  if (NGINX === null) return;
  home = folder();
  behind = await lines();
  port = freePort();
  const to = behind.url;
  const site = `
    upstream pool { server ${to.slice(7)}; }
    server {
      listen 127.0.0.1:${port};
      location / { proxy_pass http://pool; }
      location /whole/ { proxy_pass ${to}; proxy_set_header Host $http_host; proxy_set_header X-Env prod; proxy_set_header Accept ""; }
      location /stripped/ { proxy_pass ${to}/; }
      location /moved/ { proxy_pass http://pool/v2/users/; }
      location /rewritten/ { rewrite ^/rewritten/(.*)$ /new/$1 break; proxy_pass http://pool; }
      location /kept { proxy_pass http://pool$request_uri; }
      location /old/ { return 301 https://new.example.com$request_uri; }
      location /other/ { return 302 /new/place; }
      location /closed/ { return 503 "back at \\"noon\\"\\n"; add_header X-Closed yes always; }
      location /nobody/ { deny all; proxy_pass http://pool; }
      location /denied/ { deny all; }
      location /within/ { internal; proxy_pass http://pool; }
    }`;
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((kind) => `${kind}_temp_path tmp/${kind};`).join(" ");
  mkdirSync(join(home.path, "tmp"));
  mkdirSync(join(home.path, "sites"));
  writeFileSync(join(home.path, "sites", "one.conf"), site);
  const file = join(home.path, "nginx.conf");
  const text = `daemon off; master_process off; pid nginx.pid; error_log error.log;
    events { worker_connections 64; }
    http { access_log off; default_type text/plain; ${temporary} include sites/*.conf; }`;
  writeFileSync(file, text);
  nginx = Bun.spawn([NGINX, "-c", file, "-p", home.path, "-e", join(home.path, "error.log")], { stdout: "ignore", stderr: "ignore" });
  const { config, notes } = imported("nginx", file, text);
  expect(notes).toEqual([]);
  gateway = serving(JSON.parse(JSON.stringify({ ...config, server: { host: "127.0.0.1", drainTimeout: "0s" } })));
  await until(() =>
    fetch(`http://127.0.0.1:${port}/`).then(
      () => true,
      () => false,
    ),
  );
});

afterAll(async () => {
  nginx?.kill();
  await gateway?.stop();
  behind?.[Symbol.dispose]();
  home?.[Symbol.dispose]();
});

/** What a caller gets, and what the backend got. */
async function seen(url: string, path: string) {
  const before = behind.heads.length;
  const answer = await fetch(`${url}${path}`, { redirect: "manual", headers: { accept: "text/x" } });
  const [line = "", ...fields] = (behind.heads[before] ?? "").split("\r\n");
  const field = (name: string) => fields.find((each) => each.toLowerCase().startsWith(`${name}:`))?.slice(name.length + 2);
  const sent = line === "" ? null : [line.split(" ")[1], field("x-env"), field("accept"), field("host")?.includes(url.slice(7)) ?? false];
  const location = answer.headers.get("location");
  return {
    status: answer.status,
    sent,
    location: location?.startsWith(url) ? location.slice(url.length) : location,
    closed: answer.headers.get("x-closed"),
    text: sent === null && answer.status === 503 ? await answer.text() : null,
  };
}

withNginx("a request goes the same way by Sluice as by nginx", async () => {
  const paths = [
    ...["/", "/any/thing?x=1&y", "/whole/a%20b", "/whole/", "/stripped/a/b?c", "/stripped/", "/moved/7?x", "/moved/"],
    ...["/rewritten/a/b?q", "/kept/a?b", "/old/a/b?c=d", "/other/x", "/closed/", "/closed/any?x", "/nobody/x", "/denied/x", "/within/x"],
  ];
  for (const path of paths) expect([path, await seen(gateway.url, path)]).toEqual([path, await seen(`http://127.0.0.1:${port}`, path)]);
});

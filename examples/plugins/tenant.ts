// Tells backends which tenant a request is for, by the subdomain: acme.example.com becomes `X-Tenant: acme`.
//
//   "plugins": [{ "file": "./plugins/tenant.ts", "options": { "domain": "example.com" } }]
//
// Limits can count each tenant apart: { "algorithm": "token-bucket", "limit": 100, "window": "1m", "by": "tag:tenant" }
import type { Plugin } from "sluice";

interface Options {
  /** The domain below which each tenant has its name. */
  readonly domain: string;
  /** The header that backends read; X-Tenant by default. */
  readonly header?: string;
}

let domain = "";
let header = "X-Tenant";

export default {
  name: "tenant",

  setup(options) {
    if (typeof options.domain !== "string" || options.domain === "")
      throw new Error('name the domain: "options": { "domain": "example.com" }');
    domain = `.${options.domain.toLowerCase()}`;
    header = options.header ?? header;
  },

  request(request, context) {
    const { hostname } = new URL(request.url);
    const tenant = hostname.endsWith(domain) ? hostname.slice(0, -domain.length) : "";
    if (!/^[a-z0-9-]{1,63}$/.test(tenant)) return Response.json({ error: "There is no such tenant." }, { status: 404 });
    // Whatever the caller sent under this name is replaced.
    request.headers.set(header, tenant);
    context.tags.tenant = tenant;
    return undefined;
  },
} satisfies Plugin<Options>;

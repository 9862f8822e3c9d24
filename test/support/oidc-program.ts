// A certified issuer of tokens (npm oidc-provider) as a program of its own, so that tests can kill it. Prints its address when it listens.
// POST /rotate makes another signing key; GET /counts tells how often the key set was asked for. POST /browser?redirect=URI&as=NAME&groups=A,B lets
// a client "console" send browsers, which are then signed in as NAME without being asked.
import { createServer } from "node:http";
import { exportJWK, generateKeyPair, type JWK } from "jose";
import Provider from "oidc-provider";

/** Keys that stay in the set after a rotation: the tokens that they signed are good still. */
const KEPT_KEYS = 3;

const port = Number(process.argv[2] ?? 0);
const counts = { discovery: 0, keys: 0, tokens: 0, introspections: 0 };
let keys: JWK[] = [];
let provider: Provider;
/** Who is signed in, and where to. */
let person = { redirect: "http://127.0.0.1/nowhere", name: "nobody", groups: [] as string[] };

async function rotate(): Promise<string> {
  const { privateKey } = await generateKeyPair("RS256", { extractable: true });
  const kid = crypto.randomUUID();
  keys = [{ ...(await exportJWK(privateKey)), kid, use: "sig", alg: "RS256" }, ...keys].slice(0, KEPT_KEYS);
  provider = new Provider(issuer, {
    jwks: { keys },
    clients: [
      {
        client_id: "shop",
        client_secret: "a-client-secret-0123456789",
        grant_types: ["client_credentials"],
        redirect_uris: [],
        response_types: [],
      },
      {
        client_id: "console",
        client_secret: "a-console-secret-0123456789",
        grant_types: ["authorization_code"],
        redirect_uris: [person.redirect],
        response_types: ["code"],
      },
    ],
    claims: { openid: ["sub", "groups"] },
    // As most issuers do: the ID token itself tells the claims.
    conformIdTokenClaims: false,
    findAccount: (_, accountId) => ({ accountId, claims: () => ({ sub: accountId, groups: person.groups }) }),
    interactions: { url: (_, { uid }) => `/interaction/${uid}` },
    loadExistingGrant: async ({ oidc }) => {
      const { client, session } = oidc;
      if (client === undefined || session?.accountId === undefined) return undefined;
      const grant = new oidc.provider.Grant({ clientId: client.clientId, accountId: session.accountId });
      grant.addOIDCScope("openid");
      await grant.save();
      return grant;
    },
    scopes: ["orders:read", "orders:write"],
    clientAuthMethods: ["client_secret_basic"],
    features: {
      clientCredentials: { enabled: true },
      introspection: { enabled: true, allowedPolicy: () => true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_, resource) => ({
          scope: "orders:read orders:write",
          audience: resource === "urn:jwt" ? "api" : resource,
          accessTokenFormat: resource === "urn:opaque" ? "opaque" : "jwt",
          accessTokenTTL: 600,
          ...(resource === "urn:opaque" ? {} : { jwt: { sign: { alg: "RS256", kid } } }),
        }),
      },
    },
    // Tokens for machines name the client; the tier is a claim of its own.
    extraTokenClaims: () => ({ plan: "gold" }),
  });
  return kid;
}

const server = createServer((request, response) => {
  const path = request.url ?? "";
  if (path === "/rotate") {
    rotate().then((kid) => response.end(kid));
    return;
  }
  if (path.startsWith("/browser?")) {
    const query = new URLSearchParams(path.slice(path.indexOf("?")));
    person = { redirect: query.get("redirect") ?? "", name: query.get("as") ?? "", groups: (query.get("groups") ?? "").split(",") };
    rotate().then((kid) => response.end(kid));
    return;
  }
  if (path.startsWith("/interaction/")) {
    void provider.interactionFinished(request, response, { login: { accountId: person.name } });
    return;
  }
  if (path === "/counts") {
    response.end(JSON.stringify(counts));
    return;
  }
  if (path === "/.well-known/openid-configuration") counts.discovery++;
  if (path === "/jwks") counts.keys++;
  if (path === "/token") counts.tokens++;
  if (path.startsWith("/token/introspection")) counts.introspections++;
  provider.callback()(request, response);
});
const listening = Promise.withResolvers<void>();
server.listen(port, "127.0.0.1", () => listening.resolve());
await listening.promise;
const address = server.address();
const issuer = `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : port}`;
await rotate();
console.log(issuer);

import { type Static, Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { Since, Time, timeText } from "../http/conventions.ts";
import { invalid } from "../http/refused.ts";
import { VERSION } from "../version.ts";
import type { IssuerSignIn, Onward } from "./issuer-sign-in.ts";
import { SESSION_LASTS, type SignedIn, type SignIn, sessionCookie } from "./sign-in.ts";
import { RoleName } from "./tokens.ts";
import type { Visit, Visits } from "./visits.ts";

export interface SessionAdminDeps {
  readonly visits: Visits;
  readonly signIn: SignIn;
  readonly issuer: IssuerSignIn;
  /** Tells whether no admin token has ever been used. */
  readonly isFirstRun: () => boolean;
}

/** The endpoints, by method and path below the resource, that nobody needs a token for. */
export const OPEN_TO_ALL: readonly string[] = ["POST ", "GET /options", "GET /start", "GET /callback"];

/** Where sign-in by an issuer begins. */
const START = "/admin/session/start";

const Name = Type.String({ description: "Who is signed in: the actor's name in the audit.", examples: ["first"] });

const SignInBody = Type.Object(
  {
    token: Type.Optional(Type.String({ minLength: 1, maxLength: 512, description: "An admin token." })),
    link: Type.Optional(Type.String({ minLength: 1, maxLength: 512, description: "The secret of a first-run link." })),
  },
  { additionalProperties: false },
);

const SessionBegun = Type.Object({ name: Name, role: RoleName, expiresAt: Since("When the session ends by itself.") });

const WhoAmI = Type.Object({
  name: Type.String({ description: "The name of the token, or of who is signed in: the actor in the audit.", examples: ["env"] }),
  role: RoleName,
  via: Type.Union([Type.Literal("session"), Type.Literal("token")], { description: "What is shown: the console's cookie, or a token." }),
  expiresAt: Time("When the session ends by itself; null for a token."),
  version: Type.String({ description: "The gateway's version.", examples: ["0.1.0"] }),
});

const Options = Type.Object({
  issuer: Type.Union(
    [
      Type.Object({
        name: Type.String({ description: "The issuer's name in the configuration." }),
        start: Type.String({ description: "Where a browser goes to sign in." }),
      }),
      Type.Null(),
    ],
    { description: "By whom people may sign in besides a token; null: by nobody." },
  ),
  firstRun: Type.Boolean({ description: "True while no admin token has ever been used: a link to sign in was printed at the start." }),
});

/** What an issuer adds to the callback's address, and whatever else it likes. */
const CameBackQuery = Type.Object({
  code: Type.Optional(Type.String()),
  state: Type.Optional(Type.String()),
  iss: Type.Optional(Type.String()),
  error: Type.Optional(Type.String()),
});

const shown = ({ name, role, expiresAt }: SignedIn): Static<typeof SessionBegun> => ({
  name,
  role,
  expiresAt: timeText(expiresAt) ?? "",
});

/** Gives the endpoints by which people sign in to the console and out, and are told who they are. */
export const sessionAdmin = ({ visits, signIn, issuer, isFirstRun }: SessionAdminDeps) =>
  new Elysia({ prefix: "/session", tags: ["session"], normalize: false })
    .get("/", ({ request }) => whoIs(visits.of(request)), {
      response: WhoAmI,
      detail: { summary: "Show who you are", description: "By the token or the console's cookie that the request shows." },
    })
    .post(
      "/",
      async ({ body, request, set }) => {
        const { token, link } = body;
        if ((token === undefined) === (link === undefined)) throw invalid([{ path: [], message: 'must have either "token" or "link"' }]);
        const visit = visits.of(request);
        const signedIn = token !== undefined ? signIn.byToken(token, visit) : await signIn.byLink(link ?? "", visit);
        set.status = 201;
        set.headers["set-cookie"] = sessionCookie(signedIn.id, SESSION_LASTS / 1000, visit);
        return shown(signedIn);
      },
      {
        parse: "json",
        body: SignInBody,
        response: { 201: SessionBegun },
        detail: {
          summary: "Sign in to the console",
          description:
            "With an admin token, or with the secret of the link that is printed at the start while no token has ever been used. The answer sets the cookie `sluice_session`, which stands for the token for 12 hours where the console is served. What is changed with the cookie needs the header `X-Sluice-Console` and an `Origin` that is the gateway's own.",
        },
      },
    )
    .delete(
      "/",
      ({ request, set }) => {
        const visit = visits.of(request);
        signIn.end(visit);
        set.status = 204;
        set.headers["set-cookie"] = sessionCookie("", 0, visit);
      },
      { detail: { summary: "Sign out of the console", description: "Ends the session whose cookie the request shows." } },
    )
    .get(
      "/options",
      ({ request }) => {
        signIn.mustBeServed(visits.of(request));
        const { issuerName: name } = issuer;
        return { issuer: name === null ? null : { name, start: START }, firstRun: isFirstRun() };
      },
      {
        response: Options,
        detail: { summary: "Show how to sign in", description: "For the console's sign-in page: open to all for whom it is served." },
      },
    )
    .get(
      "/start",
      async ({ request }) => {
        const visit = visits.of(request);
        signIn.mustBeServed(visit);
        return redirect(await issuer.begin(visit));
      },
      { detail: { hide: true } },
    )
    .get(
      "/callback",
      async ({ request, query }) => {
        const visit = visits.of(request);
        signIn.mustBeServed(visit);
        return redirect(await issuer.finish(query, request.headers.get("cookie"), visit));
      },
      { query: CameBackQuery, detail: { hide: true } },
    );

/** Sends a browser on. */
function redirect({ status, location, cookies }: Onward): Response {
  const headers = new Headers({ location });
  for (const cookie of cookies) headers.append("set-cookie", cookie);
  return new Response(null, { status, headers });
}

const whoIs = ({ holder }: Visit): Static<typeof WhoAmI> => {
  if (holder === null) throw new Error("nobody is told who nobody is");
  const { name, role, via, expiresAt } = holder;
  return { name, role, via, expiresAt: timeText(expiresAt), version: VERSION };
};

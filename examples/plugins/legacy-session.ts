// Lets callers in who have a session of an older application, which keeps them in SQLite; those with keys need none.
//
//   "plugins": [{ "file": "./plugins/legacy-session.ts", "options": { "database": "/var/lib/legacy/sessions.db" } }]
//
// The table: sessions (id TEXT PRIMARY KEY, user TEXT, plan TEXT, rights TEXT, expires INTEGER), `expires` in seconds since 1970.
import { Database } from "bun:sqlite";
import type { Plugin } from "sluice";

interface Options {
  /** The database's file. */
  readonly database: string;
  /** The cookie with the session's id; sid by default. */
  readonly cookie?: string;
  /** The tiers of Sluice by the plans of the application; a plan that is not among them is the tier of that name. */
  readonly tiers?: Readonly<Record<string, string>>;
}

interface Session {
  readonly user: string;
  readonly plan: string;
  /** Words with spaces between them. */
  readonly rights: string;
}

let find: (id: string) => Session | null = () => null;
let close = (): void => {};
let cookie = "sid";
let tiers: Readonly<Record<string, string>> = {};

export default {
  name: "legacy-session",

  setup(options) {
    // Opened once, and prepared once: a look-up takes some microseconds.
    const database = new Database(options.database, { readonly: true });
    const query = database.query<Session, [string, number]>("SELECT user, plan, rights FROM sessions WHERE id = ?1 AND expires > ?2");
    find = (id) => query.get(id, Math.floor(Date.now() / 1000));
    close = () => database.close();
    cookie = options.cookie ?? cookie;
    tiers = options.tiers ?? tiers;
  },

  identify(request) {
    const id = cookieOf(request, cookie);
    const session = id === null ? null : find(id);
    // Nobody: the route decides what becomes of those, by its "auth".
    if (session === null) return null;
    const { user, plan, rights } = session;
    return { consumer: user, tier: tiers[plan] ?? plan, scopes: rights.split(" ").filter(Boolean), metadata: { plan } };
  },

  stop() {
    close();
  },
} satisfies Plugin<Options>;

function cookieOf(request: Request, name: string): string | null {
  for (const pair of (request.headers.get("cookie") ?? "").split(/;\s*/))
    if (pair.startsWith(`${name}=`)) return pair.slice(name.length + 1);
  return null;
}

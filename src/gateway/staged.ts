import type { Config } from "../config/schema.ts";
import { KINDS } from "../records/kinds.ts";
import type { StagedDocument } from "../records/staged.ts";
import { subjectOf } from "../records/staged.ts";
import type { Fault } from "../schema/faults.ts";
import { MAX_WEBHOOKS } from "../webhooks/settings.ts";
import type { Records } from "./records.ts";

/** The most of those who use something that is to go that are told of. */
const MAX_USERS = 5;

/**
 * Gives all that keeps documents from coming into force together, beside the declarations of `next`; `null`: beside those in force. Each is checked among
 * all the others as they would be then. `leaving`: who is changed in the same step, as in "consumer acme", and checked there.
 */
export function stagedFaults(
  staged: readonly StagedDocument[],
  next: Config | null,
  records: Records,
  leaving: ReadonlySet<string> = new Set(),
): Fault[] {
  const changed = new Set([...staged.map(subjectOf), ...leaving]);
  return records.asIf(staged, next, (clashes) =>
    clashes.length > 0 ? [...clashes] : [...tooMany(staged, records), ...staged.flatMap((each) => faultsOf(each, changed, records))],
  );
}

/** Gives one fault where there would be too many webhooks. */
function tooMany(staged: readonly StagedDocument[], { webhooks }: Records): Fault[] {
  const count = webhooks.all().length;
  if (count <= MAX_WEBHOOKS || !staged.some(({ kind, text }) => kind === "webhook" && text !== null)) return [];
  return [{ path: [KINDS.webhook.path], message: `would be ${count}, and ${MAX_WEBHOOKS} are the most: leave some out` }];
}

function faultsOf({ kind, name, text }: StagedDocument, changed: ReadonlySet<string>, records: Records): Fault[] {
  const documents = records.documents[kind];
  const at = [KINDS[kind].path, name];
  const document = documents.get(name)?.document;
  if (text !== null) {
    if (document === undefined) return [];
    return documents.tried(document, name).faults.map(({ path, message }) => ({ path: [...at, ...path], message }));
  }
  // One that is declared from then on is there.
  if (document !== undefined) return [];
  const users = documents.usersOf(name).filter((user) => !changed.has(user));
  if (users.length === 0) return [];
  const more = users.length > MAX_USERS ? ` and ${users.length - MAX_USERS} more` : "";
  return [{ path: at, message: `would be gone, and ${users.slice(0, MAX_USERS).join(", ")}${more} use it: change them first` }];
}

import { type Fault, formatPath } from "../schema/faults.ts";
import { type Problem, type ProblemCode, problem } from "./problem.ts";

/** A request to the admin API that is not carried out; nothing was changed. */
export class Refused extends Error {
  constructor(readonly problem: Problem) {
    super(String(problem.members.detail));
  }
}

const CHALLENGE = [["WWW-Authenticate", 'Bearer realm="sluice admin"']] as const;

export const TOKEN_MISSING = problem("keyMissing", "Send the admin token as Authorization: Bearer TOKEN.", {}, CHALLENGE);

export const TOKEN_UNKNOWN = problem("keyInvalid", "This is not an admin token.", {}, CHALLENGE);

export const INTERNAL = problem("internal", "Something went wrong in the gateway; its log has more under this request id.");

export const refused = (code: ProblemCode, detail: string, headers: readonly (readonly [string, string])[] = []): Refused =>
  new Refused(problem(code, detail, {}, headers));

/** Input with faults: 422 with all of them. */
export function invalid(faults: readonly Fault[]): Refused {
  const errors = faults.map((fault) => ({ path: formatPath(fault.path), message: fault.message }));
  const [first] = errors;
  const said = `${first?.path === "" ? "The input" : `${first?.path}:`} ${first?.message}${errors.length > 1 ? `, and ${errors.length - 1} more` : ""}`;
  // A hint is a question.
  const detail = said.endsWith("?") ? said : `${said}.`;
  return new Refused(problem("validationFailed", detail, { errors }));
}

export const notFound = (what: string, id: string): Refused => refused("notFound", `There is no ${what} ${JSON.stringify(id)}.`);

export const managedByConfig = (what: string, id: string): Refused =>
  refused("conflict", `The ${what} ${JSON.stringify(id)} is managed by config.json: change it there.`);

/** Another process changed the record between our look at it and our change. */
export const changedMeanwhile = (): Refused =>
  refused("conflict", "The record was changed at the same moment: read it again and repeat your change.");

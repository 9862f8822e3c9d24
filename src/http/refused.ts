import { type Fault, formatPath } from "../schema/faults.ts";
import { type Problem, type ProblemCode, problem } from "./problem.ts";

/** Refuses a request; nothing was changed. */
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

/** Makes the refusal of input with faults: 422 with all of them. */
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

/** Makes the refusal of a change to a record that another process changed between our look at it and our change. */
export const changedMeanwhile = (): Refused =>
  refused("conflict", "The record was changed at the same moment: read it again and repeat your change.");

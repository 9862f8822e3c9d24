import { SQLiteError } from "bun:sqlite";
import type { ValidationError } from "elysia";
import { type Problem, passing, problem, problemBody } from "../http/problem.ts";
import { INTERNAL, invalid, Refused } from "../http/refused.ts";
import { WriteConflict } from "../records/replication.ts";
import { RedisDown } from "../redis/link.ts";
import { schemaFaults } from "../schema/faults.ts";
import type { Unwritable } from "../storage/writability.ts";

/** Says why nothing can be stored, where an error says so; `null` for any other error. */
export type WhyUnwritable = (error: unknown) => Unwritable | null;

/** Gives what an error means to the one whose request it ended; `null` for a fault of Sluice's own. */
export function refusalOf(error: unknown, unwritable: WhyUnwritable): Problem | null {
  if (error instanceof Refused) return error.problem;
  if (error instanceof RedisDown) return REDIS_AWAY;
  const why = unwritable(error);
  if (why !== null) return readOnly(why);
  if (error instanceof WriteConflict)
    return problem("conflict", "Another instance changed something at the same moment: read it again and repeat your change.");
  return null;
}

/** Gives what an error of an endpoint means; `code` is Elysia's word for it. */
export function endpointRefusalOf(error: unknown, code: string | number, unwritable: WhyUnwritable): Problem {
  const refusal = refusalOf(error, unwritable);
  if (refusal !== null) return refusal;
  // Elysia words its refusal with the value that it refuses, and trips over an object with a field called toString.
  if (error instanceof TypeError && error.stack?.includes("mapValueError"))
    return invalid([{ path: [], message: "has an object where text or a number is expected" }]).problem;
  // Another process on the same database was faster by a moment.
  if (isTaken(error)) return problem("conflict", "There is such a record already: change it, or choose another name.");
  switch (code) {
    case "VALIDATION":
      // An answer of ours that is not what its schema says is a fault of ours.
      return (error as ValidationError).type === "response" ? INTERNAL : validationProblem(error as ValidationError);
    case "PARSE":
      return problem("badRequest", "The body is not JSON, or its Content-Type is not application/json.");
    case "INVALID_COOKIE_SIGNATURE":
      return problem("badRequest", "The cookie is malformed.");
    default:
      return INTERNAL;
  }
}

function isTaken(error: unknown): boolean {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
  return cause instanceof SQLiteError && (cause.code === "SQLITE_CONSTRAINT_PRIMARYKEY" || cause.code === "SQLITE_CONSTRAINT_UNIQUE");
}

const REDIS_AWAY = passing(
  "limiterUnavailable",
  "Redis is away, and nothing that instances share can be changed without it: try again in a second.",
  1,
);

/** Seconds after which a change may be tried again that could not be stored. */
const READ_ONLY_FOR = 10;

const readOnly = ({ isDamaged }: Unwritable): Problem =>
  passing(
    "storageReadOnly",
    isDamaged
      ? "Nothing was changed: the gateway's database is damaged. Stop the gateway and restore a backup with `sluice restore FILE`."
      : "Nothing was changed: the disk of the gateway's database is full or can't be written. Make room there, then send it again.",
    READ_ONLY_FOR,
  );

/** Says that nothing is at a path, or which methods it takes. */
export function notHere(methods: readonly string[]): Problem {
  if (methods.length === 0) return problem("routeNotFound", "The admin API has nothing here; /swagger lists what there is.");
  const allow = methods.join(", ");
  return problem("methodNotAllowed", `This takes ${allow}.`, {}, [["Allow", allow]]);
}

/** Gives the faults of a request in our own words: Elysia's texts name one fault at a time and know no near names. */
function validationProblem(error: ValidationError): Problem {
  const { schema } = error.validator as unknown as { schema?: Parameters<typeof schemaFaults>[0] };
  const faults = schema === undefined ? [] : schemaFaults(schema, error.value);
  return invalid(faults.length > 0 ? faults : [{ path: [], message: "is not what is expected here" }]).problem;
}

/** Makes the answer of a refusal. `types`: see `typesFrom`. */
export function toResponse(refusal: Problem, requestId: string, types: string): Response {
  return new Response(problemBody(refusal, requestId, types), {
    status: refusal.status,
    headers: [["Content-Type", "application/problem+json"], ["Cache-Control", "no-store"], ...refusal.headers] as [string, string][],
  });
}

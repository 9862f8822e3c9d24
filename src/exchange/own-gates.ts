import { type Problem, problem } from "../http/problem.ts";
import type { Gate } from "./line.ts";

const ALL: readonly string[] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/**
 * The refusal of two methods: TRACE would return what only the backend should see (RFC 9110 §9.3.8), CONNECT would make a tunnel of a
 * route.
 */
const NEVER_TAKEN = problem("methodNotAllowed", "TRACE and CONNECT are not taken here.", {}, [["Allow", ALL.join(", ")]]);

/** Gives the refusal of a request whose method is refused wherever it goes; `null` for all others. */
export const neverTaken = (method: string): Problem | null => (method === "TRACE" || method === "CONNECT" ? NEVER_TAKEN : null);

/** Methods that change nothing; probes use any of them. */
export const READING: readonly string[] = ["GET", "HEAD", "OPTIONS"];

const onlyFor =
  (methods: readonly string[], refusal: Problem) =>
  (says: string): Gate =>
  ({ incoming, asker }) => {
    const isTaken = methods.includes(incoming.head.method);
    asker?.tell("route", isTaken ? says : String(refusal.members.detail), isTaken);
    return isTaken ? null : refusal;
  };

const refusalWith = (detail: string, methods: readonly string[]): Problem =>
  problem("methodNotAllowed", detail, {}, [["Allow", methods.join(", ")]]);

/** Makes the first gate of an own path, by the methods that it takes. `says`: the finding that `explain` is told. */
export const onlyReading = onlyFor(READING, refusalWith("This takes GET.", READING));
export const onlyAdmins = onlyFor(ALL, refusalWith(`The admin API takes ${ALL.join(", ")}.`, ALL));
export const onlyGet = onlyFor(["GET", "HEAD"], refusalWith("This takes GET.", ["GET", "HEAD"]));
/** Takes every method: which of them a path below takes, whoever answers there says. */
export const anyMethod =
  (says: string): Gate =>
  ({ asker }) => {
    asker?.tell("route", says, true);
    return null;
  };
export const onlyPost = onlyFor(["POST"], refusalWith("This takes POST.", ["POST"]));

import type { Caller } from "../exchange/caller.ts";
import type { Arrival, Exchange } from "../exchange/exchange.ts";
import type { Route } from "../exchange/route.ts";
import { below } from "../http/path.ts";
import { type Problem, problem } from "../http/problem.ts";
import { fieldAt } from "../tokens/field-at.ts";
import type { Prompt } from "../tokens/prompt.ts";
import { isJsonType } from "../values/json.ts";
import { namingOf } from "./naming.ts";

/** The most characters of a model's name that a refusal repeats. */
const MAX_SHOWN = 100;

/** Tells whether a caller may call a model, as far as its key and its consumer say. */
export const mayCall = ({ models, consumer }: Pick<Caller, "models" | "consumer">, name: string): boolean =>
  (models === null || models.has(name)) && (consumer.models === null || consumer.models.has(name));

/** Tells whether a caller is bound to some models. */
export const isBound = ({ models, consumer }: Pick<Caller, "models" | "consumer">): boolean => models !== null || consumer.models !== null;

/**
 * Says why a request may not name the models that it names, or does not show which those are; `null`: it may. `prompt`: its body as it was
 * read; `isPriced`: whether it matters which one is called, since it costs money.
 */
export function modelRefusal(exchange: Exchange<Arrival>, route: Route, prompt: Prompt, isPriced: boolean): Problem | null {
  const { caller, incoming } = exchange;
  const isFree = (route.models === null || route.models.list.includes("*")) && !isBound(caller);
  if (route.models === null && isFree) return isPriced && prompt.isRead ? namingFault(prompt) : null;
  const named = namesBeside(exchange, route);
  for (const name of named) {
    if (route.virtualModels.has(name)) return ofJsonAlone(name);
    if (!isAllowed(caller, route, name)) return modelUnknown(name);
  }
  // What is said over a WebSocket is not read.
  if (incoming.head.upgrade !== "" && named.length === 0 && !isFree) return UNNAMED;
  if (incoming.body === null) return null;
  const coding = incoming.head.fields.joined("content-encoding")?.trim().toLowerCase() ?? "";
  const isEncoded = coding !== "" && coding !== "identity";
  const { bytes, isRead, model } = prompt;
  if (!isEncoded && !isRead && model !== null)
    return route.virtualModels.has(model) ? ofJsonAlone(model) : nameRefusal(caller, route, model);
  if (isEncoded || !isRead || bytes === null) {
    // What is neither JSON nor a form with a model may be a file.
    if (isFree && !isEncoded && !isJsonType(incoming.head.fields.mediaType)) return null;
    return problem(
      "badRequest",
      "The body must be JSON that can be read, without Content-Encoding, and not too large: it has to be known which model you call.",
    );
  }
  const unclear = namingFault(prompt);
  if (unclear !== null) return unclear;
  if (model !== null && !isAllowed(caller, route, model)) return modelUnknown(model);
  const unknown = otherModels(bytes).find((name) => route.virtualModels.has(name) || !isAllowed(caller, route, name));
  if (unknown !== undefined) return modelUnknown(unknown);
  return model !== null || named.length > 0 || isFree ? null : UNNAMED;
}

const UNNAMED = problem("badRequest", 'Name a model in the field "model" of the body: it has to be known which one you call.');

/** The segments of paths behind which some providers have the name of a model: Azure's, Google's, Amazon's, and OpenAI's own of old. */
const IN_PATH = /\/(?:deployments|models|model|engines)\/([^/:]+)/gi;

/** Gives the models that a request names beside its body, where providers read them: in its query, and in its path below the route's. */
function namesBeside({ query, path, incoming: { head } }: Exchange<Arrival>, { depth }: Route): string[] {
  const parameters = new URLSearchParams(query.slice(1));
  const inQuery = ["model", "deployment"].flatMap((name) => parameters.getAll(name));
  // Who reads about a model does not call it.
  if (head.upgrade === "" && (head.method === "GET" || head.method === "HEAD")) return inQuery;
  return [...inQuery, ...[...below(path, depth).matchAll(IN_PATH)].map(([, name = ""]) => decoded(name))];
}

/** Gives a part of a path as it is read: as it stands where that can't be done. */
export function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Says why a caller may not name this model on a route; `null`: it may. */
export const nameRefusal = (caller: Caller, route: Route, name: string): Problem | null =>
  isAllowed(caller, route, name) ? null : modelUnknown(name);

/** Gives the refusal of a body out of which some servers would read another model than others. */
function namingFault({ bytes, model }: Prompt): Problem | null {
  const naming = bytes === null ? "none" : namingOf(bytes);
  return naming === "unclear" || (naming === "once" && model === null)
    ? problem("badRequest", 'The body must name its model once, by a text in the field "model".')
    : null;
}

const ofJsonAlone = (name: string): Problem => problem("modelUnknown", `${shown(name)} can be named in a body of JSON alone.`);

const isAllowed = (caller: Caller, { models }: Route, name: string): boolean =>
  (models === null || models.has(name)) && mayCall(caller, name);

const shown = (name: string): string => JSON.stringify(name.length > MAX_SHOWN ? `${name.slice(0, MAX_SHOWN)}…` : name);

/** Makes the refusal of a request for a model that there is not, or that its caller may not call: which of both is not said. */
const modelUnknown = (name: string): Problem =>
  problem("modelUnknown", `There is no model ${shown(name)} here that you may call: look at the list of models for those that you may.`);

/** Gives the models that a body names besides, which some providers ask when the first one fails ("models"). */
function otherModels(bytes: Uint8Array): string[] {
  const at = fieldAt(bytes, "models");
  if (at === null) return [];
  const value: unknown = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset + at.from, at.to - at.from).toString());
  return (Array.isArray(value) ? value : [value]).filter((name): name is string => typeof name === "string");
}

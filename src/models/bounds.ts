import type { Caller } from "../exchange/caller.ts";
import type { Arrival, Exchange } from "../exchange/exchange.ts";
import type { Route } from "../exchange/route.ts";
import { type Problem, problem } from "../http/problem.ts";
import type { Prompt } from "../tokens/prompt.ts";
import { isJsonType } from "../values/json.ts";
import type { NamePatterns } from "../values/name-patterns.ts";
import { isBatch, namesBeside, namesInPath } from "./named-beside.ts";
import { namingOf } from "./naming.ts";
import { othersNamedIn } from "./other-names.ts";

/** The most characters of a model's name that a refusal repeats. */
const MAX_SHOWN = 100;

/** Tells whether a caller may call a model, as far as its key and its consumer say. */
export const mayCall = ({ models, consumer }: Pick<Caller, "models" | "consumer">, name: string): boolean =>
  allows(models, name) && allows(consumer.models, name);

/** Matches names that some servers take apart, so as to call several models, or another one. */
const MAY_BE_SEVERAL = /[,\s\p{C}]/u;

/** Tells whether a bound allows a model. Its patterns stand for no name in which others may be: `gpt-*` for no "gpt-4,secret". */
const allows = (bound: NamePatterns | null, name: string): boolean =>
  bound === null || (MAY_BE_SEVERAL.test(name) ? bound.names(name) : bound.has(name));

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
  // What is said over a WebSocket is not read, and where it is of responses each message names its model.
  if (incoming.head.upgrade !== "" && (named.length === 0 || prompt.api === "responses") && !isFree) return UNNAMED;
  if (incoming.body === null) return isFree || !hidesModel(exchange, route) ? null : UNSEEN;
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
  const others = othersNamedIn(bytes);
  if (others === null) return UNCLEAR_OTHERS;
  const unknown = others.find((name) => route.virtualModels.has(name) || !isAllowed(caller, route, name));
  if (unknown !== undefined) return modelUnknown(unknown);
  if (isFree) return null;
  // The requests of a batch may stand in a file.
  if (isBatch(exchange)) return others.length > 0 || namesInPath(exchange, route).length > 0 ? null : UNNAMED_BATCH;
  return model !== null || named.length > 0 ? null : UNNAMED;
}

const UNNAMED = problem("badRequest", 'Name a model in the field "model" of the body: it has to be known which one you call.');
const UNSEEN = problem("forbidden", "Which model this calls stands in its body, which is not sent along when another proxy asks.");
const UNNAMED_BATCH = problem(
  "badRequest",
  "Send the requests of the batch in its body, each with its model: it has to be known which ones you call.",
);
const UNCLEAR_OTHERS = problem(
  "badRequest",
  "The body must name other models once, by texts, in fields that are written in small letters.",
);

/** Tells whether the model of a request is named in a body that another proxy has: a query says nothing of what is named there. */
const hidesModel = (exchange: Exchange<Arrival>, route: Route): boolean =>
  exchange.incoming.isDescribed === true &&
  !["GET", "HEAD", "OPTIONS", "DELETE"].includes(exchange.incoming.head.method) &&
  namesInPath(exchange, route).length === 0;

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

const isAllowed = (caller: Caller, { models }: Route, name: string): boolean => allows(models, name) && mayCall(caller, name);

const shown = (name: string): string => JSON.stringify(name.length > MAX_SHOWN ? `${name.slice(0, MAX_SHOWN)}…` : name);

/** Makes the refusal of a request for a model that there is not, or that its caller may not call: which of both is not said. */
const modelUnknown = (name: string): Problem =>
  problem("modelUnknown", `There is no model ${shown(name)} here that you may call: look at the list of models for those that you may.`);

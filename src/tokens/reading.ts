import type { Arrival, Exchange } from "../exchange/exchange.ts";
import type { Route } from "../exchange/route.ts";
import { callerLeft } from "../http/client.ts";
import { letGo, MAX_READ, type Prompt, readPrompt } from "./prompt.ts";

/** Interfaces whose bodies have `messages` or `prompt` as chat completions do, and that refuse what they do not know: Anthropic's, OpenAI's for pictures and films. Ollama's own streams no events. */
const TAKES_NO_OPTIONS = /\/(?:messages|responses|images\/[a-z]+|videos|api\/(?:chat|generate))$/;

/** Tells whether a stream may be made to ask for its usage: where OpenAI's interface would send it. */
const mayAskForUsage = (exchange: Exchange<Arrival>, { usage }: Route): boolean =>
  usage?.isOpenAi === true && exchange.incoming.head.fields.get("anthropic-version") === null && !TAKES_NO_OPTIONS.test(exchange.path);

/**
 * Reads the body of an exchange, for whoever needs it first: `exchange.prompt` has it until the exchange ends. Waits only for what has not
 * come yet. Throws, or rejects with, `UpstreamFailure` when the body breaks off, or its caller leaves. `readsModel`: whether the model matters, which may stand in a form.
 */
export function promptOf(exchange: Exchange<Arrival>, route: Route, readsModel: boolean): Prompt | Promise<Prompt> {
  if (exchange.prompt !== null) return exchange.prompt;
  const { head } = exchange.incoming;
  const length = head.framing === "chunked" ? -1 : head.contentLength;
  const prompt = readPrompt(exchange.body, length, {
    path: exchange.path,
    mediaType: head.fields.mediaType,
    form: readsModel ? head.fields.get("content-type") : null,
    mayAsk: mayAskForUsage(exchange, route),
    // Where it has to be known which model is called, all that is taken is read.
    max: route.models === null ? MAX_READ : Math.max(MAX_READ, route.maxBodySize ?? exchange.snapshot.maxBodySize),
    findsModel: route.models !== null,
  });
  return prompt instanceof Promise ? prompt.then((read) => kept(exchange, read)) : kept(exchange, prompt);
}

function kept(exchange: Exchange<Arrival>, prompt: Prompt): Prompt {
  if (prompt.weight > 0) exchange.onEnded(() => letGo(prompt));
  exchange.prompt = prompt;
  // Nothing may be taken for it any more.
  if (exchange.isOver) throw callerLeft();
  return prompt;
}

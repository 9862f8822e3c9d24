import { forModelClients, type Problem } from "../http/problem.ts";
import type { ModelApi } from "./prompt.ts";

/**
 * Writes the event that ends a stream of a language model's answer before its time, as the clients of its interface read it. `events`: the
 * number of those before it.
 */
export function errorEvent(api: ModelApi, refusal: Problem, events: number): Uint8Array {
  const { error } = forModelClients(refusal).members as { readonly error: { message: string; type: string; code: string } };
  switch (api) {
    case "messages":
      return named({ type: "error", error: { type: error.type, message: error.message } });
    case "responses":
      return named({ type: "error", code: error.code, message: error.message, param: null, sequence_number: events });
    default:
      return Buffer.from(`data: ${JSON.stringify({ error: { ...error, param: null } })}\n\n`);
  }
}

const named = (data: { readonly type: "error"; readonly [member: string]: unknown }): Uint8Array =>
  Buffer.from(`event: error\ndata: ${JSON.stringify(data)}\n\n`);

import type { Answer } from "../exchange/answer.ts";
import type { Answerer } from "../exchange/line.ts";
import { isLocal } from "../http/local.ts";
import { type Problem, problem } from "../http/problem.ts";
import { date, jsonReply } from "../http/reply.ts";

export interface MetricsEndpointDeps {
  /** Gives the text that Prometheus scrapes. `accept`: the field of its request. */
  readonly text: (accept: string | null) => Promise<{ readonly type: string; readonly body: string }>;
  /** Gives the same in short, for people without Prometheus. */
  readonly summary: () => Promise<object>;
  /** Tells why an Authorization field shows no admin token; `null` when it does. Wrong ones count in the guard. */
  readonly tokenRefusal: (authorization: string | null, ip: string) => Problem | null;
  readonly onFault: (error: unknown, requestId: string) => void;
}

const NOT_KEPT = "Cache-Control: no-store\r\n";
const UNREADABLE = problem("internal", "The metrics could not be read; the log has more under this request id.");

/** Answers `/metrics` and `/_metrics`, for scrapers on this machine, and for whoever shows an admin token. */
export const metricsAnswerer =
  ({ text, summary, tokenRefusal, onFault }: MetricsEndpointDeps): Answerer =>
  ({ id, incoming, ip, path }) => {
    const { fields } = incoming.head;
    const stranger = isLocal(incoming) ? null : tokenRefusal(fields.get("authorization"), ip);
    if (stranger !== null) return { kind: "problem", problem: stranger };
    const answer = async (): Promise<Answer> => {
      if (path === "/_metrics") return { kind: "reply", reply: jsonReply(200, await summary(), NOT_KEPT) };
      const { type, body } = await text(fields.get("accept"));
      const head = `Content-Type: ${type}\r\n${date()}${NOT_KEPT}`;
      return { kind: "reply", reply: { status: 200, reason: "OK", head, body, length: -1 } };
    };
    return answer().catch((error: unknown): Answer => {
      onFault(error, id);
      return { kind: "problem", problem: UNREADABLE };
    });
  };

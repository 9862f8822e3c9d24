import { Webhook } from "standardwebhooks";

export const WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw8QpIhbOrWXk=";

/** An event as it has arrived. */
export interface Received {
  readonly id: string;
  readonly body: { readonly type: string; readonly timestamp: string; readonly data: Readonly<Record<string, unknown>> };
  readonly text: string;
  readonly headers: Record<string, string>;
  readonly path: string;
}

/** A receiver of webhooks on this machine, which keeps what arrives and answers as it is told. */
export function receiver() {
  const all: Received[] = [];
  /** Every try, also those that were refused. */
  const tries: string[] = [];
  const state = {
    answer: (_: Received): Response | Promise<Response> => new Response(null, { status: 204 }),
  };
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: async (request) => {
      const text = await request.text();
      const headers = Object.fromEntries(request.headers);
      const received = { id: headers["webhook-id"] ?? "", body: JSON.parse(text), text, headers, path: new URL(request.url).pathname };
      tries.push(received.id);
      const answer = await state.answer(received);
      if (answer.ok) all.push(received);
      return answer;
    },
  });
  return {
    url: `http://127.0.0.1:${server.port}/hook`,
    port: server.port as number,
    all,
    tries,
    types: () => all.map(({ body }) => body.type),
    /** Answers with this from now on. */
    answers: (answer: typeof state.answer | number) => {
      state.answer = typeof answer === "number" ? () => new Response(`said ${answer}`, { status: answer }) : answer;
    },
    [Symbol.dispose]: () => void server.stop(true),
  };
}

/** Tells whether an event is signed by a secret. The package looks at the real time: it is told of ours by the tests that move theirs. */
export function isSigned({ text, headers }: Received, secret = WEBHOOK_SECRET): boolean {
  try {
    new Webhook(secret).verify(text, headers);
    return true;
  } catch {
    return false;
  }
}

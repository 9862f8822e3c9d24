import { useState } from "preact/hooks";
import { send } from "../../api.ts";
import { Badge } from "../../parts/badge.tsx";
import { Form, SelectField, TextField } from "../../parts/form.tsx";
import { filled } from "../../records/patch.ts";

interface Walked {
  readonly steps: readonly { readonly step: string; readonly passed: boolean | null; readonly detail: string }[];
  readonly refusal: { readonly status: number; readonly code: string } | null;
  readonly forwarded: string | null;
}

const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"] as const;

/** Tells what would become of a request, step by step, without sending it. */
export function RequestTest() {
  const [draft, setDraft] = useState({ method: "GET", target: "/", host: "", key: "", ip: "" });
  const [answer, setAnswer] = useState<Walked | null>(null);
  const set = (changed: Partial<typeof draft>): void => setDraft((before) => ({ ...before, ...changed }));
  return (
    <>
      <p class="fine">Nothing is sent, charged or counted. The key goes to the gateway alone.</p>
      <Form
        submit="Test"
        needs="viewer"
        onSubmit={async () => setAnswer((await send<Walked>("POST", "explain/request", { body: filled(draft) })).value)}
      >
        <div class="cells">
          <SelectField name="method" label="Method" required value={draft.method} options={METHODS} onValue={(method) => set({ method })} />
          <TextField
            name="target"
            label="Path or URL"
            required
            value={draft.target}
            onValue={(target) => set({ target })}
            placeholder="/api/users/7"
          />
          <TextField name="host" label="Host" value={draft.host} onValue={(host) => set({ host })} />
          <TextField name="key" label="Key" isSecret value={draft.key} onValue={(key) => set({ key })} autocomplete="off" />
          <TextField name="ip" label="Caller's address" value={draft.ip} placeholder="127.0.0.1" onValue={(ip) => set({ ip })} />
        </div>
      </Form>
      <div role="status">{answer !== null && <Way of={answer} />}</div>
    </>
  );
}

function Way({ of: { steps, refusal, forwarded } }: { readonly of: Walked }) {
  return (
    <section class="walked" aria-label="What would become of it">
      <p>
        {refusal === null ? (
          <Badge tone="good">let through</Badge>
        ) : (
          <>
            <Badge tone="bad">refused</Badge> with {refusal.status} <code>{refusal.code}</code>
          </>
        )}
        {forwarded !== null && (
          <>
            {" "}
            as <code>{forwarded}</code>
          </>
        )}
      </p>
      <ol class="steps">
        {steps.map(({ step, passed, detail }, i) => (
          <li key={`${step} ${i}`}>
            <Badge tone={passed === null ? "plain" : passed ? "good" : "bad"}>{step}</Badge>
            <span class="hidden">{passed === null ? "can't be said" : passed ? "passes" : "refuses"}</span> {detail}
          </li>
        ))}
      </ol>
    </section>
  );
}

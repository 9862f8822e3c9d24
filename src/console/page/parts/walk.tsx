import { useState } from "preact/hooks";
import { send } from "../api.ts";
import type { Walked } from "../shapes.ts";
import { Form, SelectField, TextField } from "./form.tsx";
import { Icon } from "./icon.tsx";

const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"] as const;

/** Where the parts of the gateway that a request passes have names for people. */
const STEPS: Readonly<Record<string, string>> = {
  path: "Path",
  route: "Route",
  ips: "Addresses that may come",
  guard: "Blocked addresses",
  identify: "Who calls",
  plugin: "Plug-ins",
  model: "Model",
  models: "List of models",
  tool: "Tool",
  limits: "Limits and quotas",
  authorize: "Asking another",
  cache: "Cache",
  target: "Backend",
};

export interface WalkProps {
  readonly method: string;
  /** A path or a URL. */
  readonly target: string;
  /** A key that is known already, so that nobody must paste it again. */
  readonly apiKey?: string;
}

/** Walks a request through the gateway without sending it, and shows each step. */
export function Walk({ method, target, apiKey = "" }: WalkProps) {
  const [draft, setDraft] = useState({ method, target, host: "", key: apiKey, ip: "", model: "", tool: "", headers: "" });
  const [walked, setWalked] = useState<Walked | null>(null);
  const set = (changed: Partial<typeof draft>): void => setDraft((before) => ({ ...before, ...changed }));
  const walk = async (): Promise<void> => {
    const { headers, ...rest } = draft;
    const lines = headers.split("\n").filter((line) => line.trim() !== "");
    const given = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== ""));
    const body = lines.length === 0 ? given : { ...given, headers: lines };
    setWalked((await send<Walked>("POST", "explain/request", { body })).value);
  };
  return (
    <>
      <p class="fine">Nothing is sent, counted or charged: each step tells what it would do.</p>
      <div class="columns">
        <Form submit="Walk it" needs="viewer" onSubmit={walk}>
          <SelectField
            name="method"
            label="Method"
            options={METHODS}
            value={draft.method}
            onValue={(next) => set({ method: next })}
            required
          />
          <TextField
            name="target"
            label="Path or URL"
            value={draft.target}
            onValue={(next) => set({ target: next })}
            placeholder="/api/users/7"
            required
          />
          <TextField name="host" label="Host" value={draft.host} onValue={(host) => set({ host })} placeholder="api.example.com" />
          <TextField
            name="key"
            label="API key"
            isSecret
            value={draft.key}
            onValue={(key) => set({ key })}
            hint="It leaves this page only for this question."
          />
          <TextField name="ip" label="Caller's address" value={draft.ip} onValue={(ip) => set({ ip })} placeholder="127.0.0.1" />
          <TextField
            name="model"
            label="Model that it names"
            value={draft.model}
            onValue={(model) => set({ model })}
            placeholder="gpt-5-mini"
          />
          <TextField name="tool" label="Tool that it calls" value={draft.tool} onValue={(tool) => set({ tool })} placeholder="search" />
          <TextField
            name="headers"
            label="Header fields"
            value={draft.headers}
            onValue={(headers) => set({ headers })}
            rows={2}
            placeholder="X-Tenant: acme"
            hint="One on each line."
          />
        </Form>
        <div aria-live="polite">
          {walked === null ? <p class="empty">The way of the request will be here, step by step.</p> : <Way walked={walked} />}
        </div>
      </div>
    </>
  );
}

const Way = ({ walked: { steps, refusal, forwarded } }: { readonly walked: Walked }) => (
  <>
    <ol class="way">
      {steps.map(({ step, passed, detail }, i) => (
        <li key={i} class={passed === null ? "plain" : passed ? "good" : "bad"}>
          <Icon name={passed === null ? "why" : passed ? "check" : "stop"} />
          <div>
            <b>{STEPS[step] ?? step}</b> <span class="hidden">{passed === null ? "not known" : passed ? "passes" : "stops"}</span>
            <p>{detail}</p>
          </div>
        </li>
      ))}
    </ol>
    <p class={`note ${refusal === null ? "" : "bad"}`}>
      {refusal !== null
        ? `It would be refused: ${refusal.status} ${refusal.code}.`
        : forwarded === null
          ? "It would pass: Sluice itself answers."
          : `It would pass, and be forwarded as ${forwarded}.`}
    </p>
  </>
);

import { useState } from "preact/hooks";
import { send } from "../../api.ts";
import { Form, SelectField, TextField } from "../../parts/form.tsx";
import { Icon } from "../../parts/icon.tsx";
import { Panel } from "../../parts/screen.tsx";
import type { Walked } from "../../shapes.ts";
import { asked } from "./asked.ts";

const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];

/** Where the parts of the gateway that a request passes have names for people. */
const STEPS: Readonly<Record<string, string>> = {
  path: "Path",
  route: "Route",
  ips: "Addresses that may come",
  guard: "Blocked addresses",
  identify: "Who calls",
  plugin: "Plug-ins",
  limits: "Limits and quotas",
  authorize: "Asking another",
  cache: "Cache",
  target: "Backend",
};

export interface WalkProps {
  readonly method: string;
  readonly target: string;
}

/** Walks a request through the gateway without sending it, and shows each step. */
export function Walk({ method: given, target: path }: WalkProps) {
  const [method, setMethod] = useState(given);
  const [target, setTarget] = useState(path);
  // A key that was pasted above: it is found, so that nobody must paste it again.
  const [key, setKey] = useState(
    asked.value?.matches.some(({ kind, id }) => kind === "key" && id !== asked.value?.text) ? asked.value.text : "",
  );
  const [ip, setIp] = useState("");
  const [headers, setHeaders] = useState("");
  const [walked, setWalked] = useState<Walked | null>(null);
  const walk = async (): Promise<void> => {
    const lines = headers.split("\n").filter((line) => line.trim() !== "");
    const body = {
      method,
      target,
      ...(key === "" ? {} : { key }),
      ...(ip === "" ? {} : { ip }),
      ...(lines.length === 0 ? {} : { headers: lines }),
    };
    setWalked((await send<Walked>("POST", "explain/request", { body })).value);
  };
  return (
    <Panel title="Walk a request through the gateway">
      <p class="fine">Nothing is sent, counted or charged: each step tells what it would do.</p>
      <div class="columns">
        <Form submit="Walk it" needs="viewer" onSubmit={walk}>
          <SelectField name="method" label="Method" options={METHODS} value={method} onValue={setMethod} required />
          <TextField name="target" label="Path" value={target} onValue={setTarget} placeholder="/api/users/7" required />
          <TextField name="key" label="API key" value={key} onValue={setKey} hint="It leaves this page only for this question." />
          <TextField name="ip" label="Address" value={ip} onValue={setIp} placeholder="127.0.0.1" />
          <TextField
            name="headers"
            label="Header fields"
            value={headers}
            onValue={setHeaders}
            rows={2}
            placeholder="X-Tenant: acme"
            hint="One on each line."
          />
        </Form>
        <div aria-live="polite">
          {walked === null ? <p class="empty">The way of the request will be here, step by step.</p> : <Way walked={walked} />}
        </div>
      </div>
    </Panel>
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

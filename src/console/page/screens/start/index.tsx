import { useState } from "preact/hooks";
import { ScreenFrame } from "../../parts/screen.tsx";
import { go, hrefTo, setQuery } from "../../router.ts";
import type { ScreenProps } from "../index.ts";
import { BackendStep } from "./backend.tsx";
import { FirstRequest } from "./first-request.tsx";
import { KeyStep, type MadeKey } from "./key.tsx";
import { RouteStep } from "./route.tsx";

const STEPS = ["Backend", "Route", "Key", "First request"] as const;

/** Leads from nothing to the first request: a backend, a route, a key. */
export function Start({ query }: ScreenProps) {
  // What was made stands in the address, so that a reload goes on there; the key does not: it is a secret.
  const upstream = query.get("upstream");
  const route = query.get("route");
  const path = query.get("path") ?? "/";
  const isOpen = query.get("auth") === "none";
  const consumer = query.get("consumer");
  const [made, setMade] = useState<MadeKey | null>(null);
  const at = upstream === null ? 0 : route === null ? 1 : made === null && !isOpen ? 2 : 3;
  return (
    <ScreenFrame title="Set up your gateway" intro="Three steps, then the first request.">
      <ol class="stages">
        {STEPS.map((step, i) => (
          <li key={step} class={i < at ? "done" : ""} aria-current={i === at ? "step" : undefined}>
            {step} {i < at && <span class="hidden">done</span>}
          </li>
        ))}
      </ol>
      {upstream === null ? (
        <BackendStep onDone={(name) => go(hrefTo(["start"], { upstream: name }))} />
      ) : route === null ? (
        <RouteStep upstream={upstream} onDone={(done) => go(hrefTo(["start"], { upstream, ...done }))} />
      ) : at === 2 ? (
        <KeyStep consumer={consumer} onConsumer={(id) => setQuery({ ...Object.fromEntries(query), consumer: id })} onDone={setMade} />
      ) : (
        <FirstRequest route={route} path={path} made={made} />
      )}
      <p class="fine">
        You can leave at any time: <a href={hrefTo([])}>go to Now</a>. What you have made stays.
      </p>
    </ScreenFrame>
  );
}

import { useState } from "preact/hooks";
import { get, type Page, type Problem, problemOf } from "../../api.ts";
import { clock } from "../../format.ts";
import { useLive } from "../../live.ts";
import { ErrorNote } from "../../parts/error-note.tsx";
import { Icon } from "../../parts/icon.tsx";
import { Panel, ScreenFrame } from "../../parts/screen.tsx";
import { Table } from "../../parts/table.tsx";
import { Walk } from "../../parts/walk.tsx";
import { hrefTo } from "../../router.ts";
import type { Match, Refusal } from "../../shapes.ts";
import type { ScreenProps } from "../index.ts";
import { About, type Situation } from "./about.tsx";
import { type Asked, askAbout, asked, hrefOf } from "./asked.ts";
import { RefusedRequest } from "./refused.tsx";

/** Milliseconds between two looks at the last refusals. */
const LOOK_EVERY = 3000;

/** Explains what becomes of somebody's requests. */
export function Why({ query }: ScreenProps) {
  const request = query.get("request");
  const target = query.get("target");
  const situation: Situation = {
    consumer: query.get("consumer"),
    key: query.get("key"),
    ip: query.get("ip"),
    route: query.get("route"),
    model: query.get("model"),
    tool: query.get("tool"),
    token: asked.value?.matches.some(({ kind }) => kind === "token") && query.size === 0 ? asked.value.text : null,
  };
  const isAsked = Object.values(situation).some((each) => each !== null);
  const found = asked.value;
  return (
    <ScreenFrame title="Why" intro="Why a request was refused, what applies to a caller, what is left, and when it works again.">
      <AskBox />
      {found !== null && query.size === 0 && situation.token === null && <Choice asked={found} />}
      {found !== null && <Fault asked={found} />}
      {request !== null && <RefusedRequest key={request} id={request} />}
      {request === null && isAsked && <About title={titleOf(situation)} situation={situation} />}
      {request === null && !isAsked && target === null && <LastRefusals />}
      <Panel title="Walk a request through the gateway">
        <Walk key={`${target} ${query.get("method")}`} target={target ?? ""} method={query.get("method") ?? "GET"} apiKey={keyOf(found)} />
      </Panel>
    </ScreenFrame>
  );
}

/** Gives the key that somebody asked about; empty: it was none, or only its id. */
const keyOf = (found: Asked | null): string =>
  found?.matches.some(({ kind, id }) => kind === "key" && id !== found.text) === true ? found.text : "";

function titleOf({ consumer, key, ip, route, token }: Situation): string {
  const who = token !== null ? "This token" : key !== null ? `Key ${key}` : (consumer ?? ip ?? "Callers without a key");
  return route === null ? who : `${who} on ${route}`;
}

/** Takes whatever somebody has at hand. */
function AskBox() {
  const [text, setText] = useState("");
  const [problem, setProblem] = useState<Problem | null>(null);
  const [isBusy, setBusy] = useState(false);
  const ask = async (): Promise<void> => {
    setBusy(true);
    setProblem(null);
    try {
      await askAbout(text);
    } catch (error) {
      setProblem(problemOf(error));
    } finally {
      setBusy(false);
    }
  };
  return (
    <form
      class="ask"
      aria-label="Ask why"
      onSubmit={(event) => {
        event.preventDefault();
        if (!isBusy && text.trim() !== "") void ask();
      }}
    >
      <label for="ask">What do you have?</label>
      <div class="ask-row">
        <div class="search">
          <Icon name="search" />
          <input
            id="ask"
            value={text}
            autocomplete="off"
            autocapitalize="off"
            spellcheck={false}
            placeholder="A consumer, key, address, token, request id, or a path"
            aria-describedby="ask-hint"
            onInput={(event) => setText(event.currentTarget.value)}
          />
        </div>
        <button type="submit" class="primary" disabled={isBusy}>
          Explain
        </button>
      </div>
      <p class="fine" id="ask-hint">
        Keys and tokens may be pasted whole: they are not kept, and stand in no address.
      </p>
      {problem !== null && <ErrorNote problem={problem} />}
    </form>
  );
}

const KINDS: Readonly<Record<Match["kind"], string>> = {
  consumer: "The consumer",
  key: "The key",
  address: "The address",
  token: "A token",
  route: "The route",
  request: "A request that was refused",
};

/** Says that a text can be several things, or nothing. */
function Choice({ asked: { text, matches } }: { readonly asked: Asked }) {
  const known = matches.filter(({ id }) => id !== null);
  if (matches.length === 0)
    return (
      <div class="note warn" role="status">
        <p>
          <strong>This gateway knows nothing by that name.</strong> It is no consumer, key, route or address, and no refused request that is
          remembered.
        </p>
        <p>Check it for typing errors. A key of another gateway, or one that was deleted with its consumer, is not known either.</p>
      </div>
    );
  if (known.length < 2) return null;
  return (
    <div class="note" role="status">
      <p>“{text}” can be several things:</p>
      <ul>
        {known.map((match) => (
          <li key={match.kind}>
            <a href={hrefOf(match)}>
              {KINDS[match.kind]} {match.id}
            </a>
          </li>
        ))}
      </ul>
    </div>
  );
}

/** Says why a key is refused whatever it is used for. */
function Fault({ asked: { matches } }: { readonly asked: Asked }) {
  const key = matches.find(({ kind, fault }) => kind === "key" && fault !== null);
  if (key === undefined || key.fault === null) return null;
  return (
    <section class="verdict bad" aria-label="What is wrong with the key">
      {key.consumer !== null && <p class="fine">A key of {key.consumer}</p>}
      <h2>
        <Icon name="stop" /> This key is refused: {key.fault.code}
      </h2>
      <p>{key.fault.detail}</p>
    </section>
  );
}

/** Lists who was refused last, for who does not know what to ask about. */
function LastRefusals() {
  const { value, error } = useLive("refusals", (signal) => get<Pick<Page<Refusal>, "items">>("explain/refusals", {}, signal), LOOK_EVERY);
  return (
    <Panel title="Refused last">
      {error !== null && <ErrorNote problem={error} />}
      <Table
        caption="The last requests that were refused, of all callers"
        rows={value?.items ?? []}
        keyOf={({ requestId }) => requestId}
        empty={<p>{value === null ? "Looking…" : "Nobody was refused since the gateway started. Whoever is will be listed here."}</p>}
        columns={[
          { name: "Time", isNumber: true, cell: ({ at }) => clock(at), sort: ({ at }) => at },
          {
            name: "Who",
            cell: ({ consumer, ip }) => <a href={hrefTo(["why"], { consumer, ip })}>{consumer ?? ip}</a>,
            sort: ({ consumer, ip }) => consumer ?? ip,
          },
          { name: "Status", isNumber: true, cell: ({ status }) => status, sort: ({ status }) => status },
          {
            name: "Why",
            cell: ({ code, requestId, limits }) => (
              <>
                <a href={hrefTo(["why"], { request: requestId })}>{code}</a>{" "}
                <span class="fine">{limits.map(({ name, scope }) => `${name} (${scope})`).join(", ")}</span>
              </>
            ),
            sort: ({ code }) => code,
          },
          { name: "Route", cell: ({ route }) => route ?? "–", sort: ({ route }) => route },
        ]}
      />
    </Panel>
  );
}

import { send } from "../../api.ts";
import { ago, amount, clock, dateTime } from "../../format.ts";
import { useLive } from "../../live.ts";
import { ErrorNote } from "../../parts/error-note.tsx";
import { Icon } from "../../parts/icon.tsx";
import type { Match, Refusal } from "../../shapes.ts";
import { About } from "./about.tsx";

/** Tells why the request of this id was refused, and what applies to its caller now. */
export function RefusedRequest({ id }: { readonly id: string }) {
  const { value, error } = useLive(
    id,
    async () => (await send<{ readonly matches: readonly Match[] }>("POST", "explain/find", { body: { text: id } })).value.matches,
    0,
  );
  if (value === null) return error === null ? <p class="fine">Looking…</p> : <ErrorNote problem={error} />;
  const refusal = value.find(({ kind }) => kind === "request")?.refusal ?? null;
  if (refusal === null) return <NotRemembered id={id} />;
  const { consumer, ip, route } = refusal;
  return (
    <>
      <Told refusal={refusal} />
      <About
        title={`${consumer ?? ip ?? "This caller"}${route === null ? "" : ` on ${route}`}, now`}
        situation={{ consumer, ip, route, key: null, model: null, tool: null, token: null }}
      />
    </>
  );
}

const Told = ({ refusal: { at, status, code, detail, limits, consumer, ip, route, requestId } }: { readonly refusal: Refusal }) => (
  <section class="verdict bad" aria-label="What became of the request">
    <p class="fine">
      Request <code>{requestId}</code>, {dateTime(at)} ({ago(at)}), {consumer ?? ip}
      {route === null ? "" : `, route ${route}`}
    </p>
    <h2>
      <Icon name="stop" /> It was refused: {status} {code}
    </h2>
    <p>The caller was told: “{detail}”</p>
    {limits.map(({ name, scope, unit, limit, used, asked, reset }) => (
      <p key={scope + name}>
        {name} ({scope}) was used up: {amount(used, unit)} of {amount(limit, unit)}
        {asked === undefined ? "" : `, and the request might have cost ${amount(asked, unit)}`}.{" "}
        {Date.parse(reset) > Date.now() ? `It works again ${ago(reset)}, at ${clock(reset)}.` : `There was more again at ${clock(reset)}.`}
      </p>
    ))}
    <p class="fine">
      <a href={`/docs/reference/errors#${code}`}>What {code} means, and who acts</a>
    </p>
  </section>
);

const NotRemembered = ({ id }: { readonly id: string }) => (
  <section class="verdict warn" aria-label="What became of the request">
    <h2>
      <Icon name="why" /> No refusal is remembered for this request
    </h2>
    <p>
      Sluice remembers the last five refusals of each caller until it starts again. Either the request passed, or it is too long ago. Its
      line in the log has the field <code>requestId</code> with this value:
    </p>
    <p>
      <code>{id}</code>
    </p>
  </section>
);

import { useList } from "../../list.ts";
import { CheckField, NumberField, SelectField, TextField } from "../../parts/form.tsx";
import { WordsField } from "../../records/fields.tsx";
import { LimitsEditor } from "../../records/limits-editor.tsx";
import { type FieldsProps, NewRecord, RecordPage, type RecordWords } from "../../records/record-page.tsx";
import type { Pool, Route, RouteSettings, Tier, Upstream } from "../../records/types.ts";
import { hrefTo } from "../../router.ts";
import type { VirtualModel } from "../../shapes.ts";
import { McpFields } from "./mcp-fields.tsx";

const AUTH = [
  ["required", "a key, token or certificate"],
  ["optional", "a key, or none"],
  ["none", "none: open to all"],
] as const;

/** Gives the names of a list, to be proposed. */
const useNames = (list: "upstreams" | "tiers" | "pools" | "models"): string[] =>
  useList<Upstream | Tier | Pool | VirtualModel>(list).items.map(({ name }) => name);

function RouteFields({ draft, change }: FieldsProps<RouteSettings>) {
  const upstreams = useNames("upstreams");
  // Whoever answers by itself forwards nothing: the gateway refuses what is about forwarding.
  const forwards = draft.respond === null;
  return (
    <>
      <div class="cells">
        <TextField
          name="path"
          label="Path"
          required
          value={draft.path}
          placeholder="/api/users"
          hint="It takes this path and all below it."
          onValue={(path) => change({ path })}
        />
        {forwards && (
          <TextField
            name="upstream"
            label="Upstream"
            required
            value={draft.upstream ?? ""}
            choices={upstreams}
            placeholder="http://127.0.0.1:3000"
            hint="The name of an upstream, a URL, or a Unix socket."
            onValue={(upstream) => change({ upstream })}
          />
        )}
        <WordsField name="methods" label="Methods" value={draft.methods} placeholder="all" onValue={(methods) => change({ methods })} />
        <WordsField name="hosts" label="Hosts" value={draft.hosts} placeholder="all" onValue={(hosts) => change({ hosts })} />
        {forwards && (
          <TextField
            name="timeout"
            label="Timeout"
            required
            value={draft.timeout}
            onValue={(timeout) => change({ timeout })}
            placeholder="30s"
          />
        )}
        <NumberField
          name="cost"
          label="Cost"
          required
          min={0}
          value={draft.cost}
          hint="What one request takes from each limit."
          onValue={(cost) => change({ cost: cost ?? 1 })}
        />
      </div>
      {forwards ? (
        <CheckField
          name="stripPrefix"
          label="Drop the route's path before forwarding"
          value={draft.stripPrefix}
          onValue={(stripPrefix) => change({ stripPrefix })}
        />
      ) : (
        <p class="fine">This route answers by itself, and forwards nothing. What it answers (“respond”) is in the JSON.</p>
      )}
      <CallerFields draft={draft} change={change} forwards={forwards} />
      {forwards && <CacheFields draft={draft} change={change} />}
      {forwards && <ModelFields draft={draft} change={change} />}
      {forwards && <McpFields draft={draft} change={change} />}
      <LimitsEditor name="limits" value={draft.limits} onValue={(limits) => change({ limits })} />
    </>
  );
}

/** Says who may call. */
function CallerFields({ draft, change, forwards }: FieldsProps<RouteSettings> & { readonly forwards: boolean }) {
  const tiers = useNames("tiers");
  const pools = useNames("pools");
  return (
    <div class="cells">
      <SelectField
        name="auth"
        label="Callers show"
        required
        value={draft.auth}
        options={AUTH}
        onValue={(auth) => change({ auth: AUTH.find(([value]) => value === auth)?.[0] ?? "required" })}
      />
      <WordsField
        name="tiers"
        label="Only these tiers"
        value={draft.tiers}
        placeholder={tiers.length === 0 ? "all" : `all, or some of ${tiers.slice(0, 4).join(", ")}`}
        onValue={(next) => change({ tiers: next })}
      />
      <WordsField name="scopes" label="Scopes needed" value={draft.scopes} placeholder="none" onValue={(scopes) => change({ scopes })} />
      {forwards && (
        <SelectField
          name="credential"
          label="Key of a pool"
          value={draft.credential?.pool ?? ""}
          options={[["", "none"], ...pools.map((name) => [name, name] as const)]}
          onValue={(pool) => change({ credential: pool === "" ? null : { ...draft.credential, pool } })}
        />
      )}
    </div>
  );
}

/** Says which models callers may name. */
function ModelFields({ draft, change }: FieldsProps<RouteSettings>) {
  const names = useNames("models");
  return (
    <div class="cells">
      <WordsField
        name="models"
        label="Models that callers may name"
        value={draft.models}
        placeholder={names.length === 0 ? "none: it is no model's route" : `such as ${names.slice(0, 3).join(", ")}; *: any`}
        hint={
          <>
            Virtual models, real ones, or <code>*</code> for any. Left empty, bodies are not looked at for models.
          </>
        }
        onValue={(models) => change({ models })}
      />
    </div>
  );
}

const CacheFields = ({ draft, change }: FieldsProps<RouteSettings>) => (
  <div class="cells">
    <CheckField
      name="cache"
      label="Keep responses (cache)"
      hint="As RFC 9111 allows; further rules are in the JSON."
      value={draft.cache !== null}
      onValue={(isOn) => change({ cache: isOn ? {} : null })}
    />
    {draft.cache !== null && (
      <TextField
        name="cache.ttl"
        label="How long, where the backend does not say"
        value={draft.cache.ttl ?? ""}
        placeholder="60s"
        onValue={(ttl) => change({ cache: { ...draft.cache, ttl: ttl === "" ? null : ttl } })}
      />
    )}
  </div>
);

const WORDS: RecordWords<RouteSettings> = {
  noun: "route",
  list: "routes",
  back: hrefTo(["routes"]),
  backTo: "Routes and upstreams",
  Fields: RouteFields,
  lost: "Requests for its path get 404 from then on, unless another route takes them.",
  force: "Delete it though others use it.",
};

export const RoutePage = ({ name }: { readonly name: string }) => <RecordPage<RouteSettings, Route> name={name} words={WORDS} />;

export const NewRoute = () => (
  <NewRecord
    words={WORDS}
    initial={{
      name: "",
      path: "",
      methods: [],
      hosts: [],
      upstream: "",
      respond: null,
      stripPrefix: true,
      auth: "required",
      tiers: [],
      scopes: [],
      limits: [],
      cost: 1,
      timeout: "30s",
      cache: null,
      credential: null,
      models: [],
      mcp: null,
    }}
    intro="It takes effect as soon as you create it."
    hrefOf={(name) => hrefTo(["routes", "route", name])}
    example="by default the path"
    isNameOptional
  />
);

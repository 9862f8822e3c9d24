import { useId } from "preact/hooks";
import { Options } from "../../parts/options.tsx";
import { setQuery, valuesOf } from "../../router.ts";

/** The types of events that can be chosen alone, and what people call them. */
const TYPES: readonly (readonly [type: string, words: string])[] = [
  ["", "Everything"],
  ["request", "Requests"],
  ["limit", "Refused by limits"],
  ["breaker", "Circuit breakers"],
  ["target", "Health checks"],
  ["health", "The system's status"],
  ["change", "Changes by people"],
  ["pool", "Keys of pools"],
  ["quota", "Quotas and budgets"],
  ["redis", "Redis"],
  ["issuer", "Issuers"],
];

const NAMES = ["type", "route", "consumer", "status"] as const;

/** Gives the filter that an address holds. */
export const filterIn = (query: URLSearchParams) => valuesOf(query, NAMES);

/** Offers what events can be filtered by. The address keeps it, so that it can be sent to somebody. */
export function Filters({ query }: { readonly query: URLSearchParams }) {
  const id = useId();
  const change = (name: (typeof NAMES)[number], value: string): void => setQuery({ ...filterIn(query), [name]: value.trim() });
  const box = (name: "route" | "consumer" | "status", label: string, hint: string) => (
    <div class="field">
      <label for={`${id}-${name}`}>{label}</label>
      <input
        id={`${id}-${name}`}
        value={query.get(name) ?? ""}
        placeholder={hint}
        autocomplete="off"
        spellcheck={false}
        // When it is left or Enter is pressed: each change begins the stream anew.
        onChange={({ currentTarget }) => change(name, currentTarget.value)}
      />
    </div>
  );
  return (
    <form class="filters" aria-label="Filter events" onSubmit={(event) => event.preventDefault()}>
      <div class="field">
        <label for={`${id}-type`}>Type</label>
        <select id={`${id}-type`} value={query.get("type") ?? ""} onChange={({ currentTarget }) => change("type", currentTarget.value)}>
          <Options of={TYPES} />
        </select>
      </div>
      {box("route", "Route", "any")}
      {box("consumer", "Consumer", "any")}
      {box("status", "Status", "429 or 5xx")}
      {NAMES.some((name) => query.get(name) !== null) && (
        <button type="button" onClick={() => setQuery({})}>
          Show all
        </button>
      )}
    </form>
  );
}

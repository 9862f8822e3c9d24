import { useId } from "preact/hooks";
import { setQuery, valuesOf } from "../../router.ts";

const NAMES = ["actor", "action", "subject"] as const;
const LABELS = { actor: "Actor", action: "Action", subject: "Subject" } as const;
const HINTS = { actor: "a token's name", action: "key.rotate", subject: "consumer acme" } as const;

/** Gives the filter that an address holds. */
export const filterIn = (query: URLSearchParams) => valuesOf(query, NAMES);

/** Offers what the gateway filters the audit by; each wants the whole word. */
export function Filters({ query }: { readonly query: URLSearchParams }) {
  const id = useId();
  return NAMES.map((name) => (
    <div class="field" key={name}>
      <label for={`${id}-${name}`}>{LABELS[name]}</label>
      <input
        id={`${id}-${name}`}
        value={query.get(name) ?? ""}
        placeholder={HINTS[name]}
        autocomplete="off"
        spellcheck={false}
        onChange={({ currentTarget }) => setQuery({ ...filterIn(query), [name]: currentTarget.value.trim() })}
      />
    </div>
  ));
}

import { signal } from "@preact/signals";
import { send } from "../../api.ts";
import { go, hrefTo } from "../../router.ts";
import type { Match } from "../../shapes.ts";

/** Holds what was typed, and what it can be. */
export interface Asked {
  readonly text: string;
  readonly matches: readonly Match[];
}

/** What was asked last. It may be a secret: it is in no address and no storage, and gone with the page. */
export const asked = signal<Asked | null>(null);

/** Matches the first line of a request, or a path alone. */
const REQUEST = /^(?:([A-Z]{2,20})\s+)?(\/\S*|https?:\/\/\S+)$/;

/** Gives the method and target of a text that is a request; `null`: it is none. */
export function requestOf(text: string): { readonly method: string; readonly target: string } | null {
  const [, method = "GET", target] = REQUEST.exec(text.trim()) ?? [];
  return target === undefined ? null : { method, target };
}

/** Finds out what a text is, and goes to where that is explained. Rejects with a `Problem`. */
export async function askAbout(text: string): Promise<void> {
  const request = requestOf(text);
  if (request !== null) {
    asked.value = null;
    go(hrefTo(["why"], { method: request.method, target: request.target }));
    return;
  }
  const { value } = await send<{ readonly matches: readonly Match[] }>("POST", "explain/find", { body: { text } });
  asked.value = { text: text.trim(), matches: value.matches };
  const [first] = value.matches;
  go(first === undefined || value.matches.length > 1 ? hrefTo(["why"]) : hrefOf(first));
}

/** Gives the address of the place where a match is explained. */
export function hrefOf({ kind, id }: Match): string {
  if (id === null) return hrefTo(["why"]);
  return hrefTo(["why"], { [kind === "address" ? "ip" : kind]: id });
}

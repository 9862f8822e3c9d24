import { useList } from "../../list.ts";
import type { Upstream } from "../../records/types.ts";
import { hrefTo } from "../../router.ts";

/** Tells of which upstreams there is a page. */
export type KnownUpstreams = (name: string) => boolean;

/** Asks which upstreams the admin API knows: those of the demo are not among them. */
export function useKnownUpstreams(): KnownUpstreams {
  const { items, hasMore } = useList<Upstream>("upstreams");
  const names = new Set(items.map(({ name }) => name));
  return (name) => names.has(name) || (hasMore && !name.includes(":"));
}

/** Names where requests go, with a link where there is more to see: an address is no upstream. */
export const UpstreamName = ({ of, known }: { readonly of: string; readonly known: KnownUpstreams }) =>
  known(of) ? <a href={hrefTo(["routes", "upstream", of])}>{of}</a> : of.includes(":") ? <code>{of}</code> : of;

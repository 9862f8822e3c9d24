import { computed, signal } from "@preact/signals";
import { BASE, hrefTo, valuesOf } from "./href.ts";

export { BASE, hrefTo, valuesOf };

const here = signal(location.pathname + location.search);
/** How often somebody went to another place of the console: whoever shows it moves the focus there. */
export const visits = signal(0);

/** The place that is shown, by the parts of its path behind `/console`, and its query. */
export const place = computed(() => {
  const { pathname, searchParams } = new URL(here.value, location.origin);
  const parts = pathname.slice(BASE.length).split("/").filter(Boolean).map(decoded);
  return { parts, query: searchParams };
});

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Goes to an address of the console, as by a link. */
export function go(href: string): void {
  history.pushState(null, "", href);
  here.value = location.pathname + location.search;
  visits.value++;
}

/** Writes another query into the address, such as filters, without a step in the browser's history. */
export function setQuery(query: Readonly<Record<string, string | null>>): void {
  history.replaceState(null, "", hrefTo(place.peek().parts, query));
  here.value = location.pathname + location.search;
}

/** Takes clicks on the console's own links, and the browser's back and forward. Call it once. */
export function startRouter(): void {
  addEventListener("popstate", () => {
    here.value = location.pathname + location.search;
    visits.value++;
  });
  document.addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    if (link === null || link.target !== "" || link.hasAttribute("download") || link.origin !== location.origin) return;
    if (link.pathname !== BASE && !link.pathname.startsWith(`${BASE}/`)) return;
    // A link within the page, such as the one past the navigation.
    if (link.hash !== "") return;
    event.preventDefault();
    go(link.pathname + link.search);
  });
}

import { isObject, parseExactly } from "../values/json.ts";

/** Tells whether a caller gets to see a tool. */
export type Shows = (tool: string) => boolean;

/**
 * Takes the tools that a caller may not call out of the answers in a JSON text: one answer, or a list of them. Numbers stay as they are
 * written. Gives the text itself where nothing changes, and `null` where it is no JSON. `isPrivate`: others are shown other tools, so that
 * nobody may keep a list for all (2026-07-28, "Caching").
 */
export function shownTools(text: string, shows: Shows, isPrivate: boolean): string | null {
  let value: unknown;
  try {
    value = parseExactly(text);
  } catch {
    return null;
  }
  const answers: readonly unknown[] = Array.isArray(value) ? value : [value];
  let isChanged = false;
  for (const answer of answers) isChanged = withoutHidden(answer, shows, isPrivate) || isChanged;
  return isChanged ? JSON.stringify(value) : text;
}

/** Changes an answer that lists tools. Gives whether it did. */
function withoutHidden(answer: unknown, shows: Shows, isPrivate: boolean): boolean {
  const result = isObject(answer) ? answer.result : null;
  if (!isObject(result) || !Array.isArray(result.tools)) return false;
  const tools: readonly unknown[] = result.tools;
  const left = tools.filter((tool) => isObject(tool) && typeof tool.name === "string" && shows(tool.name));
  const wasPublic = isPrivate && result.cacheScope === "public";
  if (wasPublic) result.cacheScope = "private";
  if (left.length === tools.length) return wasPublic;
  result.tools = left;
  return true;
}

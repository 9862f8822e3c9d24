import { bufferOf } from "../values/buffer.ts";
import { isObject } from "../values/json.ts";
import { membersOf } from "./naming.ts";

/** The fields in which a body may name models besides "model". */
const HOLDERS: ReadonlySet<string> = new Set(["models", "fallbacks", "requests", "session", "tools"]);

/**
 * Gives the models that a body names besides: those that some providers ask when the first one fails ("models", "fallbacks"), that of a
 * session which it begins, those that its tools ask (OpenAI's images, Anthropic's advisor), and those of the requests of a batch. `null`: some servers would read others than others do. The text must be
 * JSON.
 */
export function othersNamedIn(json: Uint8Array): string[] | null {
  const bytes = bufferOf(json);
  const seen = new Set<string>();
  const names: string[] = [];
  for (const { name, isPlain, from, to } of membersOf(bytes, HOLDERS)) {
    if (!isPlain || seen.has(name)) return null;
    seen.add(name);
    const text = bytes.toString("utf8", from, to);
    // Descriptions of tools are long, and hardly one has a model.
    if (name === "tools" && !/"model"|\\u/i.test(text)) continue;
    const value: unknown = JSON.parse(text);
    for (const each of Array.isArray(value) ? value : [value]) {
      const named = namedBy(name, each);
      if (named === null) return null;
      names.push(...named);
    }
  }
  return names;
}

/** Gives the models that one value of a field names; `null`: that is not clear. */
function namedBy(field: string, value: unknown): string[] | null {
  if (typeof value === "string") return field === "models" || field === "fallbacks" ? [value] : [];
  if (!isObject(value)) return [];
  // Some list them by the model that they stand in for.
  const inLists =
    field === "fallbacks"
      ? Object.values(value).flatMap((list) => (Array.isArray(list) ? list.filter((each) => typeof each === "string") : []))
      : [];
  const holders = field === "requests" ? [value.params, value.body, value.request, value] : [value];
  const names: string[] = inLists;
  for (const holder of holders) {
    if (!isObject(holder)) continue;
    for (const [name, model] of Object.entries(holder)) {
      if (name.toLowerCase() !== "model") continue;
      if (name !== "model" || typeof model !== "string") return null;
      names.push(model);
    }
  }
  return names;
}

import { signal } from "@preact/signals";
import { get } from "../api.ts";

/** What declares records that the admin API does not manage: a file, or the embedded demo, which has none. */
export const declaredBy = signal<"file" | "demo">("file");

/** Finds out what declares them. Rejects with a `Problem`. */
export async function findDeclaredBy(): Promise<void> {
  const { file } = await get<{ readonly file: string | null }>("config");
  declaredBy.value = file === null ? "demo" : "file";
}

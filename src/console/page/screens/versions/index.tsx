import { useList } from "../../list.ts";
import type { ScreenProps } from "../index.ts";
import { OneVersion } from "./one-version.tsx";
import type { Version } from "./version.ts";
import { VersionList } from "./version-list.tsx";

/** Shows what the rules were, and leads back there. */
export function Versions({ rest: [number], query }: ScreenProps) {
  const list = useList<Version>("versions");
  return number === undefined ? (
    <VersionList list={list} />
  ) : (
    <OneVersion key={number} number={number} versions={list.items} against={query.get("with")} onRestored={list.reload} />
  );
}

import type { EffectProps } from "../../parts/effect.tsx";

/** A version of `GET /admin/versions`. */
export interface Version extends EffectProps {
  readonly number: number;
  readonly at: string;
  readonly actor: string;
  readonly source: "api" | "file" | "console" | "restore";
  readonly note: string | null;
  readonly restored: number | null;
}

/** `GET /admin/versions/:id/diff`. */
export interface VersionDifference {
  readonly documents: readonly {
    readonly kind: string;
    readonly name: string;
    readonly change: "created" | "changed" | "deleted";
    readonly fields: readonly { readonly path: string; readonly before: unknown; readonly after: unknown }[];
  }[];
  /** A unified diff; empty: the file's text is the same. */
  readonly file: string;
}

/** Says how a version was made. */
export const sourceOf = ({ source, restored }: Version): string =>
  source === "restore" ? `restore of ${restored ?? "a version"}` : source === "api" ? "API" : source;

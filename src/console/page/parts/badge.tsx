import type { ComponentChildren } from "preact";

/** What a colour means. Words say it too. */
export type Tone = "good" | "warn" | "bad" | "plain" | "accent";

/** Shows a state in a word or two. */
export const Badge = ({ tone = "plain", children }: { readonly tone?: Tone; readonly children: ComponentChildren }) => (
  <span class={`badge ${tone}`}>{children}</span>
);

import { money, short, type Unit } from "../format.ts";

/** Shows how much of something is used, as a bar with its numbers beside it. The numbers say all of it to who can't see the bar. */
export function Bar({ used, limit, unit = "units" }: { readonly used: number; readonly limit: number; readonly unit?: Unit }) {
  const write = unit === "usd" ? money : short;
  const share = limit <= 0 ? 1 : Math.min(1, Math.max(0, used / limit));
  const tone = share >= 1 ? "bad" : share >= 0.8 ? "warn" : "accent";
  return (
    <span class="amount">
      <span class="gauge" aria-hidden="true">
        <span class={tone} style={{ width: `${(share * 100).toFixed(1)}%` }} />
      </span>
      <span class="number">
        {write(used)} <span class="fine">of {write(limit)}</span>
      </span>
    </span>
  );
}

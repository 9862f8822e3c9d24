import { get } from "../../api.ts";
import { count, counted } from "../../format.ts";
import { useLive } from "../../live.ts";
import { Code } from "../../parts/copy.tsx";
import { Panel } from "../../parts/screen.tsx";
import { hrefTo } from "../../router.ts";
import type { AppliedLimit, Explained } from "../../shapes.ts";

export interface ReachLimitProps {
  readonly consumer: string;
  readonly route: string;
  /** The command that calls, without what it is called with. */
  readonly call: string;
}

/** Milliseconds between two looks at what is left. */
const LOOK_EVERY = 1000;
/** Requests that somebody sends to see a limit, at most. */
const MOST = 500;

/** A limit of which it is known what is left. */
type Counted = AppliedLimit & { readonly remaining: number };

/** Gives the limit that refuses first; `undefined`: nothing does. */
const nextOf = ({ limits }: Explained): Counted | undefined =>
  limits
    // One that counts requests under way is not used up by one after another, and one of dollars or tokens not by so many.
    .filter(
      (limit): limit is Counted =>
        limit.remaining !== null && !limit.shadow && limit.algorithm !== "concurrency" && limit.unit === "requests",
    )
    .toSorted((a, b) => a.remaining - b.remaining)[0];

/** Says how many requests are left, and how to see the limit refuse one. */
export function ReachLimit({ consumer, route, call }: ReachLimitProps) {
  const { value } = useLive("left", (signal) => get<Explained>("explain", { consumer, route }, signal), LOOK_EVERY);
  const next = value === null ? undefined : nextOf(value);
  if (next === undefined) return null;
  const { name, limit, remaining } = next;
  return (
    <Panel title="See a limit at work">
      <p role="status">
        {remaining === 0 ? (
          <>
            The limit <b>{name}</b> is used up: the next request is refused with 429.{" "}
            <a href={hrefTo(["why"], { consumer, route })}>Why says when it works again.</a>
          </>
        ) : (
          <>
            The limit <b>{name}</b> has {count(remaining)} of {count(limit)} left.
          </>
        )}
      </p>
      {limit <= MOST && (
        <>
          <p class="fine">{`This calls ${counted(limit + 1, "time")}. The first 429 is the limit: it refuses.`}</p>
          <Code text={`for i in $(seq ${limit + 1}); do curl -s -o /dev/null -w "%{http_code}\\n"${call}; done`} />
        </>
      )}
    </Panel>
  );
}

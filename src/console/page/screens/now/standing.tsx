import { bytes, count, span } from "../../format.ts";
import { Badge } from "../../parts/badge.tsx";
import { Icon } from "../../parts/icon.tsx";
import type { Stats } from "../../shapes.ts";

/** Says in a line how the gateway is, and below it what somebody should know or do. */
export function Standing({ now }: { readonly now: Stats }) {
  const { faults, warnings, redis } = now;
  const isWell = now.status === "NORMAL" && faults.length === 0 && warnings.length === 0 && redis !== "away";
  const connections = now.workers.reduce((sum, each) => sum + each.connections, 0);
  const memory = now.workers.reduce((sum, each) => sum + each.memory, 0);
  return (
    <>
      <p class="standing">
        <Badge tone={now.status === "NORMAL" ? "good" : "warn"}>{now.status}</Badge>
        {isWell && (
          <span>
            <Icon name="check" /> Nothing to warn about
          </span>
        )}
        <span class="fine">up for {span(now.uptime)}</span>
        <span class="fine">{count(connections)} connections</span>
        <span class="fine">{bytes(memory)} of memory</span>
        {redis !== null && <Badge tone={redis === "ok" ? "good" : "bad"}>Redis {redis}</Badge>}
      </p>
      {now.status === "DEGRADED" && (
        <p class="note warn">The system is DEGRADED: limits that say so are smaller until it is NORMAL again.</p>
      )}
      {faults.length > 0 && (
        <div class="note bad">
          <p>
            <strong>The configuration file is faulty.</strong> The one before its last change is in force.
          </p>
          <ul>
            {faults.map((fault) => (
              <li key={fault}>
                <code>{fault}</code>
              </li>
            ))}
          </ul>
        </div>
      )}
      {warnings.map(({ code, message }) => (
        <p key={code + message} class="note warn">
          <span>
            <Icon name="warning" /> {message} <code class="fine">{code}</code>
          </span>
        </p>
      ))}
    </>
  );
}

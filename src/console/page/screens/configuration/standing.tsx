import { useState } from "preact/hooks";
import { get, type Problem, problemOf, send } from "../../api.ts";
import { ago, counted, dateTime } from "../../format.ts";
import { useLive } from "../../live.ts";
import { Act } from "../../parts/act.tsx";
import { Badge } from "../../parts/badge.tsx";
import { say } from "../../parts/toast.tsx";
import type { Stats } from "../../shapes.ts";
import { faultsOf } from "./file.ts";
import type { Configuration } from "./index.tsx";

/** Milliseconds between two looks for warnings. */
const LOOK_EVERY = 10_000;

export interface StandingProps {
  readonly configuration: Configuration;
  readonly onReloaded: () => void;
}

/** Says which file is in force since when, what is wrong with it, and what the gateway warns of; and has it read again. */
export function Standing({ configuration: { file, loadedAt, faults }, onReloaded }: StandingProps) {
  const stats = useLive("stats", (signal) => get<Stats>("stats", {}, signal), LOOK_EVERY);
  const [problem, setProblem] = useState<Problem | null>(null);
  const reload = async (): Promise<void> => {
    setProblem(null);
    try {
      await send("POST", "config/reload");
      say("The file was read again and is in force.");
    } catch (error) {
      const refused = problemOf(error);
      // Its faults are listed anyway.
      if (faultsOf(refused).length === 0) throw refused;
      setProblem(refused);
    }
    onReloaded();
    stats.refresh();
  };
  return (
    <>
      <div class="standing">
        {faults.length === 0 ? (
          <Badge tone="good">in force</Badge>
        ) : (
          <Badge tone="bad">{`${counted(faults.length, "fault")} in the file`}</Badge>
        )}
        <span>
          {file === null ? "The embedded demo" : <code>{file}</code>}{" "}
          <span class="fine">
            read <time dateTime={loadedAt}>{dateTime(loadedAt)}</time>, {ago(loadedAt)}
          </span>
        </span>
        {file !== null && <Act label="Reload the file" needs="operator" act={reload} />}
      </div>
      {problem !== null && faults.length > 0 && (
        <p class="note bad" role="alert">
          {problem.message}
        </p>
      )}
      {stats.value !== null && stats.value.warnings.length > 0 && (
        <section class="note warn" aria-label="Warnings">
          <strong>{counted(stats.value.warnings.length, "warning")}</strong>
          <ul class="list">
            {stats.value.warnings.map(({ code, message }) => (
              <li key={code + message}>{message}</li>
            ))}
          </ul>
        </section>
      )}
    </>
  );
}

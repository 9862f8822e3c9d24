import { get } from "../api.ts";
import { count, span } from "../format.ts";
import { useLive } from "../live.ts";
import { ErrorNote } from "../parts/error-note.tsx";
import { KeyValue } from "../parts/key-value.tsx";
import { Panel, ScreenFrame } from "../parts/screen.tsx";

interface Stats {
  readonly uptime: number;
  readonly status: string;
  readonly inFlight: number;
}

/** Shows what the gateway does at this moment. */
export function Now() {
  const { value, error } = useLive("stats", (signal) => get<Stats>("stats", {}, signal), 1000);
  return (
    <ScreenFrame title="Now" intro="What the gateway does at this moment.">
      {error !== null && <ErrorNote problem={error} />}
      {value !== null && (
        <Panel title="The gateway">
          <KeyValue
            of={[
              ["System", value.status],
              ["Up for", span(value.uptime)],
              ["Requests under way", count(value.inFlight)],
            ]}
          />
        </Panel>
      )}
    </ScreenFrame>
  );
}

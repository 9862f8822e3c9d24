import { useId, useState } from "preact/hooks";
import { part, send } from "../../api.ts";
import { millis } from "../../format.ts";
import { Act } from "../../parts/act.tsx";
import { Badge } from "../../parts/badge.tsx";
import { Options } from "../../parts/options.tsx";
import { Panel } from "../../parts/screen.tsx";
import { AnswerShown } from "./answer.tsx";
import { ALL, type Answered, EVENTS } from "./webhook.ts";

/** `POST /admin/webhooks/:id/test`. */
interface Tested extends Answered {
  readonly delivered: boolean;
  readonly event: string;
  readonly milliseconds: number;
}

export interface TestDeliveryProps {
  readonly name: string;
  /** Those that the webhook gets: the first one is proposed. */
  readonly events: readonly string[];
}

/** Sends a sample of an event, and shows what the receiver answers. */
export function TestDelivery({ name, events }: TestDeliveryProps) {
  const id = useId();
  const [event, setEvent] = useState(events.find((each) => each !== ALL) ?? "key.created");
  const [tested, setTested] = useState<Tested | null>(null);
  const test = async (): Promise<void> => {
    setTested(null);
    setTested((await send<Tested>("POST", `webhooks/${part(name)}/test`, { body: { event } })).value);
  };
  return (
    <Panel title="Test">
      <p class="fine">Sends a sample, signed as events are, once and at once. It is kept nowhere.</p>
      <div class="inline">
        <label for={id}>Event</label>
        <select id={id} value={event} onChange={({ currentTarget }) => setEvent(currentTarget.value)}>
          <Options of={Object.keys(EVENTS)} />
        </select>
        <Act label="Send a test" needs="admin" act={test} />
      </div>
      <div role="status">
        {tested !== null && (
          <div class="tested">
            <p>
              <Badge tone={tested.delivered ? "good" : "bad"}>{tested.delivered ? "delivered" : "not delivered"}</Badge>{" "}
              {`${tested.event} in ${millis(tested.milliseconds)}`}
            </p>
            <AnswerShown answered={tested} />
          </div>
        )}
      </div>
    </Panel>
  );
}

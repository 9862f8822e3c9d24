import { CheckField, TextField } from "../../parts/form.tsx";
import { ALL, EVENTS, type Webhook } from "./webhook.ts";

/** What of a webhook is typed and chosen. */
export type Settings = Pick<Webhook, "url" | "events" | "enabled">;

export interface FieldsProps {
  readonly value: Settings;
  readonly onValue: (value: Settings) => void;
}

/** Offers what of a webhook can be changed. */
export const Fields = ({ value, onValue }: FieldsProps) => (
  <>
    <TextField
      name="url"
      label="Address"
      required
      placeholder="https://hooks.example.com/sluice"
      hint="Where events are posted to. It must begin with https:// and lead to the internet, unless admin.upstreamAllow lists it."
      value={value.url}
      onValue={(url) => onValue({ ...value, url })}
    />
    <EventChoice events={value.events} onEvents={(events) => onValue({ ...value, events })} />
    <CheckField
      name="enabled"
      label="On"
      hint="While it is off nothing is sent, and what happens is not kept for it."
      value={value.enabled}
      onValue={(enabled) => onValue({ ...value, enabled })}
    />
  </>
);

interface EventChoiceProps {
  readonly events: readonly string[];
  readonly onEvents: (events: readonly string[]) => void;
}

/** Offers the events, each with what it means. */
function EventChoice({ events, onEvents }: EventChoiceProps) {
  const isAll = events.includes(ALL);
  // A later version may have others.
  const known = [...Object.keys(EVENTS), ...events.filter((event) => event !== ALL && !(event in EVENTS))];
  const choose = (event: string, isChosen: boolean): void =>
    onEvents(known.filter((each) => (each === event ? isChosen : events.includes(each))));
  return (
    <fieldset class="events">
      <legend>Events</legend>
      <CheckField
        name="events"
        label="All events"
        hint="Also those that later versions of Sluice add."
        value={isAll}
        onValue={(value) => onEvents(value ? [ALL] : [])}
      />
      {!isAll && (
        <div class="event-list">
          {known.map((event) => (
            <CheckField
              key={event}
              name={`event ${event}`}
              label={event}
              hint={EVENTS[event] ?? "An event of another version."}
              value={events.includes(event)}
              onValue={(value) => choose(event, value)}
            />
          ))}
        </div>
      )}
    </fieldset>
  );
}

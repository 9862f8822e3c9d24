import { useEffect, useState } from "preact/hooks";
import { open, type Query } from "./api.ts";

/** Holds an event of the gateway; other members depend on its type. */
export interface GatewayEvent {
  /** Numbers events of this page, for keys of rows. */
  readonly n: number;
  readonly type: string;
  readonly at: string;
  readonly [member: string]: unknown;
}

/** Holds the events that came last. */
export interface Events {
  /** The newest first, at most `RING`. */
  readonly latest: readonly GatewayEvent[];
  /** How many have come since it was opened, those that are no more in the ring and those that the gateway left out among them. */
  readonly total: number;
  /** How many of these the gateway left out: it shows a hundred requests a second. */
  readonly skipped: number;
  readonly state: "connecting" | "open" | "lost";
}

/** The most events that are kept. */
export const RING = 200;
/** Milliseconds between two redraws. */
const REDRAW_EVERY = 250;
/** Milliseconds until it connects again, at first and at most. */
const FIRST_WAIT = 500;
const LONGEST_WAIT = 15_000;

const NONE: Events = { latest: [], total: 0, skipped: 0, state: "connecting" };

/**
 * Follows the gateway's events, and connects again by itself. Draws at most four times a second, however many come. `query` as for
 * `GET /admin/events`. While `isPaused` the list stands still; what comes meanwhile is counted, and is there when it goes on.
 *
 * @example
 * const { latest } = useEvents({ type: "request,limit", route: "shop" });
 */
export function useEvents(query: Query, isPaused = false): Events {
  const [shown, setShown] = useState<Events>(NONE);
  const [feed] = useState(() => new Feed());
  const key = JSON.stringify(query);
  feed.isPaused = isPaused;
  useEffect(() => {
    const leaving = new AbortController();
    feed.begin();
    const timer = setInterval(() => {
      const next = feed.take();
      if (next !== null) setShown(next);
    }, REDRAW_EVERY);
    void feed.follow(JSON.parse(key) as Query, leaving.signal);
    return () => {
      leaving.abort();
      clearInterval(timer);
    };
  }, [feed, key]);
  return shown;
}

/** Reads a stream of events into a ring. */
class Feed {
  isPaused = false;
  private ring: GatewayEvent[] = [];
  private total = 0;
  private skipped = 0;
  private state: Events["state"] = "connecting";
  private hasChanged = true;

  begin(): void {
    this.ring = [];
    this.total = 0;
    this.skipped = 0;
    this.become("connecting");
  }

  /** Gives what is to be shown; `null` when it is shown already. */
  take(): Events | null {
    if (!this.hasChanged || this.isPaused) return null;
    this.hasChanged = false;
    return { latest: this.ring.toReversed(), total: this.total, skipped: this.skipped, state: this.state };
  }

  /** Reads until `signal` ends it. */
  async follow(query: Query, signal: AbortSignal): Promise<void> {
    let wait = FIRST_WAIT;
    while (!signal.aborted) {
      try {
        const stream = await open("events", query, signal);
        this.become("open");
        wait = FIRST_WAIT;
        await this.readAll(stream);
      } catch {
        // Whatever it was: it is tried again.
      }
      if (signal.aborted) return;
      this.become("lost");
      await new Promise((resolve) => setTimeout(resolve, wait));
      wait = Math.min(LONGEST_WAIT, wait * 2);
    }
  }

  private become(state: Events["state"]): void {
    this.state = state;
    this.hasChanged = true;
  }

  private async readAll(stream: ReadableStream<Uint8Array>): Promise<void> {
    const reader = stream.getReader();
    const decoder = new TextDecoder();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      rest += decoder.decode(value, { stream: true });
      const messages = rest.split("\n\n");
      rest = messages.pop() ?? "";
      for (const message of messages) this.note(message);
    }
  }

  private note(message: string): void {
    const data = /^data: (.*)$/m.exec(message)?.[1];
    if (data === undefined) return;
    // Written by the gateway: type and at are always there.
    const event = JSON.parse(data) as Omit<GatewayEvent, "n">;
    const left = Number(event.skipped ?? 0);
    this.total += 1 + left;
    this.skipped += left;
    this.ring.push({ ...event, n: this.total } as GatewayEvent);
    if (this.ring.length > RING) this.ring.shift();
    this.hasChanged = true;
  }
}

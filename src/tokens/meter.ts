import { through } from "../http/body.ts";
import { isJsonType } from "../json.ts";
import type { UpstreamResponse } from "../upstreams/client.ts";
import { EventNumbers, NumberAt } from "./number-at.ts";

/** Where a response says what it cost: names of fields from the outside in. Several paths are added up. */
export type UsagePaths = readonly (readonly string[])[];

/** Reads from a response on its way what it cost. The bytes go on first, and as they are. */
export class Meter {
  private readonly numbers: readonly NumberAt[];
  private readonly events: EventNumbers | null;

  constructor(paths: UsagePaths, isEvents: boolean) {
    this.numbers = paths.map((path) => new NumberAt(path));
    this.events = isEvents ? new EventNumbers(this.numbers) : null;
  }

  feed(bytes: Uint8Array): void {
    if (this.events !== null) this.events.feed(bytes);
    else for (const number of this.numbers) number.feed(bytes, 0, bytes.length);
  }

  /** What the response reported so far, zero included; `null` when it reported nothing. */
  get reported(): number | null {
    let sum: number | null = null;
    for (const { value } of this.numbers) if (value !== null) sum = (sum ?? 0) + Math.max(0, Math.ceil(value));
    return sum;
  }

  /** Events that have passed; `null` when the response is no stream of them. A language model sends about one token in each. */
  get passed(): number | null {
    return this.events === null ? null : this.events.events;
  }
}

/** The meter for a response, or `null` when nothing can be read from it: it is neither JSON nor events, or it is compressed. */
export function meterOf(response: UpstreamResponse, paths: UsagePaths): Meter | null {
  const type = response.fields.mediaType;
  const isEvents = type === "text/event-stream";
  if (!isEvents && !isJsonType(type)) return null;
  const coding = response.fields.get("content-encoding");
  return coding === null || coding === "identity" ? new Meter(paths, isEvents) : null;
}

/** The response with its body going by the meter. */
export function metered(response: UpstreamResponse, meter: Meter): UpstreamResponse {
  const { body } = response;
  if (body === null) return response;
  if (body instanceof Uint8Array) {
    meter.feed(body);
    return response;
  }
  const passing = through(body, (bytes, sink) => {
    const fits = sink.write(bytes);
    meter.feed(bytes);
    return fits;
  });
  return { ...response, body: passing };
}

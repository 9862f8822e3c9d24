import type { Fields } from "../http/fields.ts";

/** Says where changes of a plug-in's headers go. */
export interface HeaderTarget {
  /** Gives the fields of which the one with this lower-case name may be changed now; `null`: it is not the plug-in's to change. */
  forChange(lower: string): Fields | null;
}

interface Editable {
  set(name: string, value: string): void;
  append(name: string, value: string): void;
  delete(name: string): void;
}

/** The web's Headers: its declarations call the methods properties, which a class can't override. */
const WebHeaders = Headers as unknown as new (entries: [string, string][]) => Editable;

/** Shows header fields as the web's `Headers`, of which it is an instance. What is changed here is changed in the message at once. */
export class LiveHeaders extends WebHeaders {
  readonly #target: HeaderTarget;

  constructor(fields: Fields, target: HeaderTarget) {
    super(entriesOf(fields));
    this.#target = target;
  }

  override set(name: string, value: string): void {
    const lower = String(name).toLowerCase();
    const fields = this.#target.forChange(lower);
    if (fields === null) return;
    // It refuses what can't stand in a header.
    super.set(name, value);
    fields.set(name, lower, trimmed(value));
  }

  override append(name: string, value: string): void {
    const lower = String(name).toLowerCase();
    const fields = this.#target.forChange(lower);
    if (fields === null) return;
    super.append(name, value);
    fields.add(name, lower, trimmed(value));
  }

  override delete(name: string): void {
    const lower = String(name).toLowerCase();
    const fields = this.#target.forChange(lower);
    if (fields === null) return;
    super.delete(name);
    fields.remove(lower);
  }

  /** The same for whoever knows the web's class. */
  get web(): Headers {
    return this as unknown as Headers;
  }

  /** Takes a field out of what is shown; the message keeps it. */
  hide(name: string): void {
    super.delete(name);
  }
}

function entriesOf({ names, values }: Fields): [string, string][] {
  const entries: [string, string][] = [];
  for (let i = 0; i < names.length; i++) entries.push([names[i] as string, values[i] as string]);
  return entries;
}

/** Takes the white space off that a header's value can't begin or end with. */
const trimmed = (value: string): string => String(value).replace(/^[\t\n\r ]+|[\t\n\r ]+$/g, "");

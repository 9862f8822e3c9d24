import type { Answer } from "../exchange/answer.ts";
import type { Arrival, Exchange } from "../exchange/exchange.ts";
import { LIMIT_FIELDS, NOT_RETURNED } from "../exchange/headers.ts";
import { isOwnField } from "../exchange/settings.ts";
import type { Body } from "../http/body.ts";
import { type Fields, fieldsOf } from "../http/fields.ts";
import { date, reasonOf } from "../http/reply.ts";
import { BodyReader } from "./body-reader.ts";
import type { GivenResponse } from "./given-response.ts";

/** Fields that say what Sluice's cache had to do with an answer: it adds them itself. */
const OF_CACHE = new Set(["age", "cache-status"]);

/** An answer that a plug-in may change: a backend's, or one of the cache's. */
export type Changeable = Extract<Answer, { readonly kind: "forwarded" | "reply" }>;

/** Holds an answer while plug-ins look at it. What they don't touch goes on as it came. */
export class Draft {
  readonly status: number;
  readonly reason: string;
  /** True when a plug-in reads the body's stream: what goes on is what it makes of that. */
  isTaken = false;
  private own: Fields | null = null;
  private hasChanged: boolean;
  private content: Uint8Array | Body | null;
  private reader: BodyReader | null = null;

  constructor(
    private readonly exchange: Exchange<Arrival>,
    private readonly answer: Changeable,
    private readonly maxBody: number,
    hasChanged = false,
  ) {
    const message = answer.kind === "forwarded" ? answer.response : answer.reply;
    this.status = message.status;
    this.reason = message.reason;
    this.content = typeof message.body === "string" ? Buffer.from(message.body) : message.body;
    this.hasChanged = hasChanged;
  }

  /** Gives another answer in its place. */
  replacedBy({ status, reason, fields, body }: GivenResponse): Draft {
    this.giveUp();
    const reply = { status, reason: reason || reasonOf(status), head: "", body, length: body instanceof Uint8Array ? body.length : -1 };
    const draft = new Draft(this.exchange, { kind: "reply", reply }, this.maxBody, true);
    draft.own = fields;
    return draft;
  }

  /** The fields as they are now, to be read. */
  get fields(): Fields {
    if (this.own !== null) return this.own;
    if (this.answer.kind === "forwarded") return this.answer.response.fields;
    // Made once: it is a text.
    this.own = fieldsOf(this.answer.reply.head);
    return this.own;
  }

  /** The fields, to be changed: what the cache keeps is not changed with them. */
  get changeable(): Fields {
    if (!this.hasChanged || this.own === null) this.own = this.fields.without();
    this.hasChanged = true;
    return this.own;
  }

  /** Puts the fields back to what they were. */
  restore(fields: Fields, hasChanged: boolean): void {
    this.own = fields;
    this.hasChanged = hasChanged;
  }

  get isChanged(): boolean {
    return this.hasChanged;
  }

  get body(): Uint8Array | Body | null {
    return this.content;
  }

  /** The body, which all plug-ins read together. */
  get bodyReader(): BodyReader {
    this.reader ??= new BodyReader(
      this.exchange,
      {
        length: this.content === null ? 0 : this.content.length,
        fields: this.fields,
        take: () => {
          if (this.isTaken) throw new Error("the response's body is read as a stream already");
          return this.content;
        },
        put: (body) => {
          this.content = body;
        },
        isRequest: false,
      },
      this.maxBody,
    );
    return this.reader;
  }

  /** Gives up the body, which nobody gets. */
  giveUp(): void {
    if (!this.isTaken && this.content !== null && !(this.content instanceof Uint8Array)) this.content.cancel();
  }

  /** Gives what is sent. */
  get result(): Changeable {
    const { answer, content } = this;
    if (answer.kind === "forwarded") {
      const { response } = answer;
      if (!this.hasChanged && content === response.body) return answer;
      return { kind: "forwarded", response: { ...response, fields: this.hasChanged ? this.fields : response.fields, body: content } };
    }
    const { reply } = answer;
    if (!this.hasChanged && content === reply.body) return answer;
    return { kind: "reply", reply: { ...reply, head: this.hasChanged ? this.head() : reply.head, body: content } };
  }

  /** Writes the header lines of an answer that is Sluice's to write. */
  private head(): string {
    const { names, lower, values } = this.fields;
    const { dropped } = this.exchange.route.responseRules;
    const isLimited = this.exchange.limitHead !== "";
    let head = lower.includes("date") ? "" : date();
    for (let i = 0; i < names.length; i++) {
      const name = lower[i] as string;
      if (NOT_RETURNED.has(name) || dropped.has(name) || (isLimited && LIMIT_FIELDS.has(name))) continue;
      head += `${names[i]}: ${values[i]}\r\n`;
    }
    return head;
  }
}

/** Makes the answer of a Response that a plug-in gives in a backend's place. */
export const answerOfGiven = (exchange: Exchange<Arrival>, given: GivenResponse): Changeable => {
  const reply = { status: 200, reason: "", head: "", body: null, length: -1 };
  return new Draft(exchange, { kind: "reply", reply }, 0).replacedBy(given).result;
};

/** Tells whether a plug-in may change a response's field with this lower-case name. */
export const mayChange = (lower: string): boolean =>
  // How the body is encoded is what it is; who gives another one says so in another Response.
  !isOwnField(lower, "response") && !LIMIT_FIELDS.has(lower) && !OF_CACHE.has(lower) && lower !== "content-encoding";

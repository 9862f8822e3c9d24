import type { Spending } from "../exchange/spending.ts";
import type { Figures } from "../tokens/figures.ts";
import type { Meter } from "../tokens/meter.ts";
import type { Prompt } from "../tokens/prompt.ts";
import type { Price } from "./price.ts";
import type { Prices } from "./prices.ts";

/** Gives more nano-dollars for a call, or does not: the key of a pool, within its budgets. */
export interface Purse {
  grow(more: number): boolean | Promise<boolean>;
}

/** Tokens for which a reservation grows at least. */
const GROWS_BY = 1024;

/** How many times as many tokens as a request allows may seem to have passed though they have not; and the fewest for which that says something. */
const MAX_MISSED = 4;
const MIN_BOUND = 256;

/**
 * Follows what the call of a model costs: what is reserved for it, through all attempts, to what it has cost in the end. One attempt is
 * under way at a time; those before it were lost or failed. All amounts are whole nano-dollars.
 */
export class ModelSpending implements Spending {
  readonly reserve: number | null;
  readonly model: string;
  /** The first model that may answer and has no price; `null`: all have one. */
  private readonly unpriced: string | null;
  grow: Spending["grow"] = () => true;
  /** What is reserved for the call by now. */
  private reserved: number;
  /** True when the model that answers has a price. */
  get isPriced(): boolean {
    return this.attempt.price !== null;
  }

  /** What the caller is told that it has cost; `null`: nothing, since nobody can tell. */
  get told(): number | null {
    return this.isPriced ? this.cost() : null;
  }

  /** What attempts have cost that are over. */
  private lostCost = 0;
  private attempt: Attempt;
  private purse: Purse | null = null;
  /** True when the attempt's stream has asked for more than was reserved. */
  private hasGrown = false;

  /**
   * Takes the model that the caller names, and those that may answer: itself, or those of a virtual model's attempts. What is reserved
   * holds for the dearest of them.
   */
  constructor(
    private readonly prompt: Prompt,
    named: string,
    candidates: readonly string[],
    private readonly prices: Prices,
  ) {
    const [first = named, ...others] = candidates;
    this.attempt = this.begun(first);
    let unpriced = this.attempt.price === null ? first : null;
    let dearest = this.attempt.reserve;
    for (const model of others) {
      const { price, reserve } = this.begun(model);
      if (price === null) unpriced ??= model;
      dearest = Math.max(dearest, reserve);
    }
    this.unpriced = unpriced;
    this.reserve = unpriced === null || prices.isFreeOtherwise ? dearest : null;
    this.model = unpriced ?? named;
    this.reserved = dearest;
  }

  /** Gives what is reserved for an attempt by this model; `null`: it has no price. */
  reserveOf(model: string): number | null {
    const price = this.prices.of(model);
    if (price === null) return this.prices.isFreeOtherwise ? 0 : null;
    return price.reserve(this.prompt);
  }

  /** True when a model that may answer has no price, whether it is refused or counts as free. */
  get isUnpriced(): boolean {
    return this.unpriced !== null;
  }

  /** What attempts have cost that are over: lost ones, which nobody will answer any more. */
  get lostSoFar(): number {
    return this.lostCost;
  }

  /**
   * Begins an attempt by this model; the one before it must be lost or have failed. Takes more from limits where what is left of the
   * reservation does not hold it. Gives whether it may be sent.
   */
  begin(model: string): boolean | Promise<boolean> {
    // Its key is another one, which is taken after this.
    this.purse = null;
    return this.start(model);
  }

  /** Begins another attempt by the same model and with the same key. Gives whether it may be sent. */
  again(): boolean | Promise<boolean> {
    return this.start(this.attempt.model);
  }

  private start(model: string): boolean | Promise<boolean> {
    this.attempt = this.begun(model);
    this.hasGrown = false;
    const missing = this.lostCost + this.attempt.reserve - this.reserved;
    return missing <= 0 || this.growBy(missing);
  }

  /** Notes that the attempt goes out. */
  sent(call: Attempt["call"]): void {
    this.attempt.call = call;
  }

  /** Notes the status of the answer. */
  answered(status: number): void {
    this.attempt.status = status;
  }

  /** Takes the meter of the answer; `null`: nothing can be read of it. */
  measure(meter: Meter | null): void {
    this.attempt.meter = meter;
  }

  /** Notes that the attempt is given up: it costs what its answer has reported, else what was reserved for it if it was sent and got no error status. */
  lost(): void {
    this.lostCost += this.attempt.costWhenLost();
    this.attempt = this.begun(this.attempt.model);
  }

  /** Notes that the attempt has cost nothing. */
  failed(): void {
    this.attempt = this.begun(this.attempt.model);
  }

  cost(): number | null {
    const cost = this.attempt.cost();
    if (cost !== null) return this.lostCost + cost;
    // What was reserved for the attempt stays, and what was lost before comes on top of it.
    return this.lostCost === 0 ? null : this.lostCost + this.attempt.reserve;
  }

  /**
   * The tokens of a streamed answer that the reservation holds; infinite where none has a price. What passes is estimated: an upstream that
   * keeps to the request's own bound never comes to so many times what was reserved, one that reads another field does.
   */
  get tokensHeld(): number {
    const { price } = this.attempt;
    if (price === null) return Number.POSITIVE_INFINITY;
    const left = this.reserved - this.lostCost - price.estimate(this.prompt.input, 0);
    const held = price.tokensFor(this.prompt.input, left);
    return this.prompt.hasLimit && !this.hasGrown ? Math.max(MIN_BOUND, held * MAX_MISSED) : held;
  }

  /** Takes more for a stream of which so many tokens more have passed than the reservation holds. Gives whether it did. */
  growFor(missing: number): boolean | Promise<boolean> {
    const { price, reserve } = this.attempt;
    this.hasGrown = true;
    return price === null || this.growBy(Math.max(price.estimate(0, missing + GROWS_BY), Math.ceil(reserve / 4)));
  }

  /** Takes more from the budgets of a pool's key as well, when the call grows: those of the key that the attempt is sent with. */
  drawOn(purse: Purse): void {
    this.purse = purse;
  }

  /** Takes so much more from every limit in money and the key's budgets. Gives whether it did. */
  private growBy(more: number): boolean | Promise<boolean> {
    const grown = this.grow(more);
    return grown instanceof Promise ? grown.then((isGrown) => this.grown(isGrown, more)) : this.grown(grown, more);
  }

  /** Goes on with the pool's key where limits have given more: what the pool refuses then is given back when the call is settled. */
  private grown(isGrown: boolean, more: number): boolean | Promise<boolean> {
    if (!isGrown) return false;
    const note = (isPaid: boolean): boolean => {
      if (isPaid) this.reserved += more;
      return isPaid;
    };
    const paid = this.purse?.grow(more) ?? true;
    return paid instanceof Promise ? paid.then(note) : note(paid);
  }

  private begun(model: string): Attempt {
    const { prompt } = this;
    const price = this.prices.of(model);
    return new Attempt(model, price, price?.reserve(prompt) ?? 0, prompt, () => this.reserved - this.lostCost);
  }
}

/** Follows one attempt. */
class Attempt {
  /** How it goes out; `null`: it has not. */
  call: { readonly isSent: boolean } | null = null;
  /** The status of its answer; 0 while there is none. */
  status = 0;
  meter: Meter | null = null;
  /** What was reported when it was last asked for, and what that costs. */
  private figures: Figures | null = null;
  private reported = 0;

  constructor(
    readonly model: string,
    readonly price: Price | null,
    readonly reserve: number,
    private readonly prompt: Prompt,
    /** Gives what is reserved for it, with what it has grown by. */
    private readonly available: () => number,
  ) {}

  /** Gives what it has cost; `null`: nobody has said, and what was reserved for it stays. */
  cost(): number | null {
    // One whose caller gave up before there was a connection has not reached anybody.
    if (this.call?.isSent !== true || this.price === null) return 0;
    const figures = this.meter?.figures ?? null;
    if (figures !== null) {
      // Head, limits, pool and usage all ask.
      if (figures !== this.figures) this.reported = this.price.cost(figures);
      this.figures = figures;
      return this.reported;
    }
    // An error that reports nothing cost nothing.
    if (this.status >= 400) return 0;
    // Nobody knows what the provider has made of it, or goes on to make when the answer is over.
    if (this.status === 0 || this.prompt.isDeferred) return null;
    const passed = this.meter?.passed ?? null;
    return passed === null ? null : Math.min(this.available(), this.price.estimate(this.prompt.input, passed));
  }

  /** Gives what it has cost when it is given up: what it has reported; otherwise what was reserved, for the provider may go on with it. */
  costWhenLost(): number {
    const isCertain = this.call?.isSent !== true || this.status >= 400 || (this.meter?.figures ?? null) !== null;
    return isCertain ? (this.cost() ?? this.reserve) : this.reserve;
  }
}

/**
 * Knows what the call of a language model costs in money: made when its body has been read, before limits are asked. All amounts are whole
 * nano-dollars.
 */
export interface Spending {
  /** What is reserved before the call is sent: of several upstreams that may answer, of the dearest. `null`: its model has no price. */
  readonly reserve: number | null;
  /** The model that has no price; for the refusal. */
  readonly model: string;
  /** What it has cost in all, with attempts that were lost; `null`: nobody has said or can tell, and what was reserved stays. */
  cost(): number | null;
  /**
   * Takes more from every limit in money that the call was charged to: from all of them or from none. Gives whether it did. The limits'
   * gate puts it here; before that, and where no limit is in money, it gives true.
   */
  grow: (more: number) => boolean | Promise<boolean>;
}

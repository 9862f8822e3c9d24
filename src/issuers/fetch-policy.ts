/** Milliseconds for which a fetched key set is kept without being asked for again. */
const KEPT = 10 * 60_000;
/** Milliseconds after that in which the next one is fetched while the one before serves: nobody waits for it. */
const MEANWHILE = 30_000;
/** Milliseconds for which the last set serves while the issuer is away. */
const LASTS = 24 * 3_600_000;
/** How many fetches may follow each other at once, and the milliseconds after which one more may. */
const AT_ONCE = 2;
const ONE_EACH = 5000;

/**
 * Says of a key set whether it is there, and how well: `due` to be fetched again while it serves, `overdue` so that it should be fetched
 * before it serves, `lapsed` so that it serves no more.
 */
export type Standing = "none" | "fresh" | "due" | "overdue" | "lapsed";

/**
 * Decides when an issuer's keys are fetched. Fetches come out of one budget, whoever asks for them, so that made-up names of keys can't
 * make Sluice a flood for the issuer: two at once, then one each 5 s. One that brings the key it was made for costs nothing, so that a
 * rotation is followed at once. Times in milliseconds of a clock that never runs backwards.
 */
export class FetchPolicy {
  /** The time at which a fetch last brought a key set; `null`: none has. */
  goodAt: number | null = null;
  /** The budget, in milliseconds that were waited for it. */
  private left = AT_ONCE * ONE_EACH;
  private countedAt = 0;
  private hasFailed = false;

  /** True since a fetch failed and none after it went well. */
  get isAway(): boolean {
    return this.hasFailed;
  }

  standing(now: number): Standing {
    if (this.goodAt === null) return "none";
    const age = now - this.goodAt;
    return age < KEPT ? "fresh" : age < KEPT + MEANWHILE ? "due" : age < LASTS ? "overdue" : "lapsed";
  }

  /** Takes a fetch out of the budget; gives false when none is left. */
  take(now: number): boolean {
    this.left = Math.min(AT_ONCE * ONE_EACH, this.left + now - this.countedAt);
    this.countedAt = now;
    if (this.left < ONE_EACH) return false;
    this.left -= ONE_EACH;
    return true;
  }

  /** Notes that a fetch brought a key set. `isFruitful`: the key that it was made for is in it. */
  went(now: number, isFruitful: boolean): void {
    this.goodAt = now;
    this.hasFailed = false;
    if (isFruitful) this.left = Math.min(AT_ONCE * ONE_EACH, this.left + ONE_EACH);
  }

  /** Notes that a fetch brought nothing. */
  failed(): void {
    this.hasFailed = true;
  }
}

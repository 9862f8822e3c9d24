import type { Counter } from "../telemetry/metrics.ts";
import { NANO } from "../values/money.ts";

/** Counts what calls of models have cost, by route and model. */
export class Costs {
  private readonly byRoute = new Map<string, Map<string, { value: number }>>();

  /** `labelOf` gives what a model is told by; there must be few, though callers may name any model. */
  constructor(
    private readonly counter: Counter,
    private readonly labelOf: (model: string) => string,
  ) {}

  /** Adds what one call has cost, in nano-dollars. */
  add(route: string, model: string, cost: number): void {
    const count = this.countOf(route, this.labelOf(model));
    count.value += cost / NANO;
  }

  private countOf(route: string, model: string): { value: number } {
    let byModel = this.byRoute.get(route);
    if (byModel === undefined) {
      byModel = new Map();
      this.byRoute.set(route, byModel);
    }
    let count = byModel.get(model);
    if (count === undefined) {
      count = this.counter.of({ route, model });
      byModel.set(model, count);
    }
    return count;
  }
}

import type { Counter } from "../telemetry/metrics.ts";
import { OTHER } from "../values/called-name.ts";
import { NANO } from "../values/money.ts";

/** Counts what calls of models have cost, by route and model. Models that the configuration does not name are one: callers may name any. */
export class Costs {
  private readonly byRoute = new Map<string, Map<string, { value: number }>>();

  /** `isNamed` tells whether the configuration has a model of this name. */
  constructor(
    private readonly counter: Counter,
    private readonly isNamed: (model: string) => boolean,
  ) {}

  /** Adds what one call has cost, in nano-dollars. */
  add(route: string, model: string, cost: number): void {
    const count = this.countOf(route, this.isNamed(model) ? model : OTHER);
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

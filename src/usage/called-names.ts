import { MAX_CALLED_NAME, OTHER } from "../values/called-name.ts";
import { Halves } from "../values/halves.ts";

/** The models whose label is remembered at most: callers may name any. */
const MAX_REMEMBERED = 1024;

/** Holds the names of models and tools that the configuration in force has. They are always told apart, whatever callers name besides. */
export class CalledNames {
  private models: ReadonlySet<string> = new Set();
  private tools: ReadonlySet<string> = new Set();
  private patternOf: (model: string) => string | null = () => null;
  private labels = new Halves<string, string>(MAX_REMEMBERED);

  /**
   * Takes the names of another configuration; patterns among them are none. `patternOf` gives the pattern by which a model has its price;
   * `null`: it has none.
   */
  enter(models: Iterable<string>, tools: Iterable<string>, patternOf: (model: string) => string | null): void {
    this.models = withoutPatterns(models);
    this.tools = withoutPatterns(tools);
    this.patternOf = patternOf;
    this.labels = new Halves(MAX_REMEMBERED);
  }

  has(kind: "model" | "tool", name: string): boolean {
    return (kind === "model" ? this.models : this.tools).has(name);
  }

  /** Gives what metrics tell a model by: its name or its pattern where the configuration has it. */
  labelOf(model: string): string {
    // Longer ones are in no configuration, and would fill what is remembered.
    if (model.length > MAX_CALLED_NAME) return OTHER;
    const known = this.labels.get(model);
    if (known !== undefined) return known;
    const label = this.models.has(model) ? model : (this.patternOf(model) ?? OTHER);
    this.labels.set(model, label);
    return label;
  }
}

const withoutPatterns = (names: Iterable<string>): ReadonlySet<string> => new Set([...names].filter((name) => !name.includes("*")));

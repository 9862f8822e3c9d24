/** Holds the names of models and tools that the configuration in force has. They are always told apart, whatever callers name besides. */
export class CalledNames {
  private models: ReadonlySet<string> = new Set();
  private tools: ReadonlySet<string> = new Set();

  /** Takes the names of another configuration; patterns among them are none. */
  enter(models: Iterable<string>, tools: Iterable<string>): void {
    this.models = withoutPatterns(models);
    this.tools = withoutPatterns(tools);
  }

  has(kind: "model" | "tool", name: string): boolean {
    return (kind === "model" ? this.models : this.tools).has(name);
  }
}

const withoutPatterns = (names: Iterable<string>): ReadonlySet<string> => new Set([...names].filter((name) => !name.includes("*")));

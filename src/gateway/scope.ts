/**
 * Closes whatever is opened in it, in the reverse order, also where the next thing fails to open.
 *
 * @example
 * const scope = openScope(report);
 * const link = new RedisLink(settings);
 * scope.defer(() => link.close());
 * await scope.close();
 */
export interface Scope {
  /** Registers a closing; write it on the line after the one that opens. */
  defer(close: () => unknown): void;
  /** Does some work again and again, every so many milliseconds, until the scope is closed. A fault is told, and the work goes on. */
  every(milliseconds: number, work: () => unknown): void;
  /**
   * Closes everything that was opened, last in first out. A closing that fails is told, and holds up no other. A second call waits for the
   * first.
   */
  close(): Promise<void>;
}

/** Opens a scope. `fault` is told the errors of its timers and closings. */
export function openScope(fault: (error: unknown) => void): Scope {
  const closings: (() => unknown)[] = [];
  let closed: Promise<void> | null = null;
  const closeAll = async (): Promise<void> => {
    for (let close = closings.pop(); close !== undefined; close = closings.pop()) {
      try {
        await close();
      } catch (error) {
        fault(error);
      }
    }
  };
  const defer = (close: () => unknown): void => {
    closings.push(close);
  };
  return {
    defer,
    every: (milliseconds, work) => {
      const timer = setInterval(async () => {
        try {
          await work();
        } catch (error) {
          fault(error);
        }
      }, milliseconds);
      defer(() => clearInterval(timer));
    },
    close: () => {
      closed ??= closeAll();
      return closed;
    },
  };
}

import { HEALTH_CHECK_PATH, healthFault, healthQuestion } from "../grpc/health.ts";
import { discard, type UpstreamClient } from "../http/client.ts";
import type { Emit } from "../telemetry/occurrences.ts";
import type { Clock } from "../values/clock.ts";
import type { HealthCheckPolicy, Target, Upstream } from "./upstream.ts";

/** Learns of a check that says something new of its target. `began`: the time at which it began, where it passed; otherwise `null`. */
export type OnChecked = (upstream: Upstream, target: Target, began: number | null, why: string) => void;

/** Asks each target of an upstream at its interval, and takes those that fail out of use. */
export class HealthChecker {
  private readonly timers = new Set<Timer>();
  private isClosed = false;

  constructor(
    private readonly upstream: Upstream,
    private readonly policy: HealthCheckPolicy,
    private readonly client: UpstreamClient,
    private readonly emit: Emit,
    /** Gives numbers from 0 up to 1: checks of many gateways should not come all at once. */
    private readonly random: () => number,
    private readonly clock: Clock,
    /** Told after the result has taken effect here. */
    private readonly onChecked: OnChecked,
  ) {}

  start(): void {
    for (const target of this.upstream.targets) this.watch(target, { good: 0, bad: 0 }, 0);
  }

  close(): void {
    this.isClosed = true;
    for (const timer of this.timers) clearTimeout(timer);
    this.timers.clear();
  }

  private watch(target: Target, row: { good: number; bad: number }, wait: number): void {
    const timer = setTimeout(async () => {
      this.timers.delete(timer);
      const began = this.clock.now();
      const fault = await this.check(target);
      if (this.isClosed) return;
      const { state } = target;
      let isNews = fault === null && (!state.hasPassed || state.breaker.state !== "closed");
      if (fault === null) this.upstream.vouchFor(target, began);
      row.good = fault === null ? row.good + 1 : 0;
      row.bad = fault === null ? 0 : row.bad + 1;
      if (row.good >= this.policy.healthyAfter && this.upstream.setHealthy(target, true)) {
        isNews = true;
        this.emit({ type: "target", upstream: this.upstream.name, target, isHealthy: true, why: "answers again", origin: "here" });
      }
      if (row.bad >= this.policy.unhealthyAfter && this.upstream.setHealthy(target, false)) {
        isNews = true;
        this.emit({ type: "target", upstream: this.upstream.name, target, isHealthy: false, why: fault ?? "", origin: "here" });
      }
      if (isNews) this.onChecked(this.upstream, target, fault === null ? began : null, fault ?? "answers again");
      this.watch(target, row, this.policy.interval * (0.9 + 0.2 * this.random()));
    }, wait);
    timer.unref();
    this.timers.add(timer);
  }

  /** Gives what is wrong with the target, or `null`. */
  private async check(target: Target): Promise<string | null> {
    const { path, timeout, service } = this.policy;
    if (service !== null) return this.askService(target, service);
    const call = this.client.send(target.origin, {
      method: "GET",
      head: `GET ${target.basePath}${path} HTTP/1.1\r\nHost: ${target.host}\r\nUser-Agent: sluice-health-check\r\nAccept: */*\r\n\r\n`,
      body: null,
      chunked: false,
      upgrade: false,
      connectTimeout: timeout,
      timeout,
      bodyTimeout: timeout,
      // A connection that was closed while it was idle says nothing of the target.
      reuse: "checked",
    });
    try {
      const response = await call.response;
      const { status } = response;
      discard(response);
      return status >= 200 && status < 400 ? null : `answers ${status}`;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  /** Asks by gRPC whether a service is well. */
  private async askService(target: Target, service: string): Promise<string | null> {
    const { timeout } = this.policy;
    const call = this.client.send(target.origin, {
      method: "POST",
      head: `POST ${target.basePath}${HEALTH_CHECK_PATH} HTTP/1.1\r\nHost: ${target.host}\r\nUser-Agent: sluice-health-check\r\nContent-Type: application/grpc\r\ngrpc-timeout: ${timeout}m\r\n\r\n`,
      body: healthQuestion(service),
      chunked: true,
      upgrade: false,
      connectTimeout: timeout,
      timeout,
      deadline: timeout,
      bodyTimeout: timeout,
    });
    try {
      return await healthFault(await call.response);
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }
}

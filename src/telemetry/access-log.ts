import type { Exchange } from "../proxy/exchange.ts";
import type { Logger } from "./log.ts";

/** One line for each request, written when its answer is out. The query is left out: it may hold secrets. */
export class AccessLog {
  constructor(private readonly log: Logger) {}

  /** `latency` in milliseconds, from the head's arrival to the answer's last byte. */
  write(x: Exchange, latency: number): void {
    this.log.info(
      {
        requestId: x.id,
        method: x.incoming.head.method,
        path: x.path,
        status: x.status,
        latencyMs: Math.round(latency * 1000) / 1000,
        route: x.route?.name ?? null,
        consumer: x.consumer,
        tier: x.key?.consumer.tier ?? null,
        keyId: x.key?.id ?? null,
        ip: x.ip,
        upstream: x.target?.url ?? null,
        attempts: x.attempts,
        cache: x.cache,
      },
      "request",
    );
  }
}

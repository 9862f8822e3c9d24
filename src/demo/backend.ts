import { fillIn } from "../schema/fill-in.ts";
import { UpstreamConfig } from "../upstreams/settings.ts";

/** Tells the demo backend what it has to know of the gateway, so that it can tell callers what they are allowed. */
export interface DemoTiers {
  /** Gives the requests a minute that callers of this tier may make now; `null` for an unknown tier. */
  limitOf(tier: string): number | null;
}

/** Runs on a loopback port, so that a new user has something to call. */
export interface DemoBackend {
  readonly url: string;
  close(): Promise<void>;
}

/**
 * Gives the upstreams that the demo backend is offered as: all of it, which nothing cuts off, and the part that can be made to fail, behind
 * a breaker that comes back soon.
 */
export const demoUpstreams = ({ url }: DemoBackend): Readonly<Record<string, UpstreamConfig>> => ({
  demo: upstream({ targets: [{ url }], breaker: null }),
  "demo-downstream": upstream({
    targets: [{ url: `${url}/downstream` }],
    breaker: { failureThreshold: 5, recoveryTimeout: "10s", successThreshold: 3 },
  }),
});

const upstream = (config: object): UpstreamConfig => fillIn(UpstreamConfig, config).value as UpstreamConfig;

/** Starts the demo backend on a port of 127.0.0.1; 0: a free one. */
export function startDemoBackend(tiers: DemoTiers, port = 0): DemoBackend {
  let isFailing = false;
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port,
    development: false,
    reusePort: false,
    fetch: async (request) => {
      const { pathname } = new URL(request.url);
      switch (pathname) {
        case "/test": {
          const tier = request.headers.get("x-consumer-tier") ?? "anonymous";
          return Response.json({
            message: "Your request came through the gateway.",
            consumer: request.headers.get("x-consumer-id"),
            tier,
            limit: tiers.limitOf(tier),
          });
        }
        case "/simulate-failure":
          isFailing = true;
          return Response.json({ message: "The backend fails from now on: POST /simulate-recovery to end it.", failing: true });
        case "/simulate-recovery":
          isFailing = false;
          return Response.json({ message: "The backend works again.", failing: false });
        case "/downstream":
          return isFailing
            ? Response.json({ error: "The demo backend fails because it was told to." }, { status: 503 })
            : Response.json({ message: "Hello from the demo backend.", requestId: request.headers.get("x-request-id") });
        default:
          return Response.json({ error: "The demo backend has nothing here." }, { status: 404 });
      }
    },
  });
  return { url: `http://127.0.0.1:${server.port}`, close: () => server.stop(true) };
}

import { type Running, start } from "./process.ts";

/** A caller's key, which no provider knows. */
export const CALLER = "a-key-of-a-caller-0123";
/** A key of a caller who has used up what a tier allows: one request a day. */
export const LIMITED = "a-key-of-one-who-is-limited-0123";
/** What each key of the pools holds. */
export const BUDGET = 1_000_000;

/** A gateway before a provider: /v1 speaks OpenAI's interface, /anthropic Anthropic's, with nothing said of where their usage is. */
export const modelGateway = (upstream: string, keys: readonly string[] = ["sk-pool-1"]): Promise<Running> =>
  start({
    config: {
      tiers: { plain: { limits: [] }, small: { limits: [{ name: "daily", algorithm: "fixed-window", limit: 1, window: "1d" }] } },
      consumers: [
        { id: "acme", tier: "plain", keys: [CALLER] },
        { id: "tiny", tier: "small", keys: [LIMITED] },
      ],
      pools: {
        openai: { keys: keys.map((secret, i) => ({ id: `k${i + 1}`, secret, limit: BUDGET, window: "1h" })) },
        anthropic: { keys: [{ id: "a1", secret: "sk-ant-pool-1", limit: BUDGET, window: "1h" }] },
      },
      routes: [
        { name: "openai", path: "/v1", upstream, stripPrefix: false, credential: { pool: "openai" } },
        { name: "anthropic", path: "/anthropic", upstream, credential: { pool: "anthropic", header: "X-API-Key" } },
      ],
    },
  });

/** Tokens that a pool's keys have given. */
export async function spent(gateway: Running, pool: string): Promise<number> {
  const { state } = (await (await gateway.admin("GET", `/admin/pools/${pool}`)).json()) as { state: { keys: { remaining: number }[] } };
  return state.keys.reduce((sum, { remaining }) => sum + BUDGET - remaining, 0);
}

/** Waits until so much is spent; gives what is spent in the end. */
export async function spentUntil(gateway: Running, pool: string, isIt: (tokens: number) => boolean): Promise<number> {
  for (let i = 0; i < 400; i++) {
    const tokens = await spent(gateway, pool);
    if (isIt(tokens)) return tokens;
    await Bun.sleep(10);
  }
  return spent(gateway, pool);
}

import type { Gate } from "../exchange/line.ts";
import { problem } from "../http/problem.ts";

/**
 * The refusal of addresses that `admin.allowFrom` does not name. It names the setting, since whoever locks themselves out must find out by
 * what; that there is an admin API is in the documentation anyway.
 */
export const NOT_ADMITTED = problem(
  "forbidden",
  "What takes an admin token can't be used from your address: admin.allowFrom in the gateway's configuration does not name it.",
);

/** Makes the gate of the admin API: who comes from elsewhere is refused before a token is looked up, and is not counted by the guard. */
export const fromGate =
  (admits: (ip: string) => boolean): Gate =>
  ({ ip, asker }) => {
    if (admits(ip)) return null;
    asker?.tell("ips", `${ip} is not among the addresses that admin.allowFrom names`, false);
    return NOT_ADMITTED;
  };

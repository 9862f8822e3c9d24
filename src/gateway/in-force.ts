import type { Config } from "../config/schema.ts";
import { CidrSet } from "../values/ip.ts";

/** Holds the configuration in force, and answers what each connection asks of it. */
export class InForce {
  private current: Config;
  private proxies: CidrSet;

  constructor(config: Config) {
    this.current = config;
    this.proxies = new CidrSet(config.server.trustedProxies);
  }

  get config(): Config {
    return this.current;
  }

  /** The proxies whose word about their callers is believed. */
  get trustedProxies(): CidrSet {
    return this.proxies;
  }

  /** Puts another configuration in its place. */
  enter(next: Config): void {
    this.current = next;
    this.proxies = new CidrSet(next.server.trustedProxies);
  }
}

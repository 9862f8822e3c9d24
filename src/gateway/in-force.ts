import type { Config } from "../config/schema.ts";
import { CidrSet } from "../values/ip.ts";

/** Holds the configuration in force, and answers what connections and requests ask of it. */
export class InForce {
  private current: Config;
  private proxies: CidrSet;
  private balancers: CidrSet;
  private admins: CidrSet;

  constructor(config: Config) {
    this.current = config;
    this.proxies = new CidrSet(config.server.trustedProxies);
    this.balancers = new CidrSet(config.server.proxyProtocol);
    this.admins = new CidrSet(config.admin.allowFrom);
  }

  get config(): Config {
    return this.current;
  }

  /** The proxies whose word about their callers is believed. */
  get trustedProxies(): CidrSet {
    return this.proxies;
  }

  /** Tells whether many clients' connections come from an address. */
  isOfMany(ip: string): boolean {
    return this.proxies.has(ip) || this.balancers.has(ip);
  }

  /** Tells whether what takes an admin token may be used from an address. */
  admitsAdmin(ip: string): boolean {
    return this.current.admin.allowFrom.length === 0 || this.admins.has(ip);
  }

  /** Puts another configuration in its place. */
  enter(next: Config): void {
    this.current = next;
    this.proxies = new CidrSet(next.server.trustedProxies);
    this.balancers = new CidrSet(next.server.proxyProtocol);
    this.admins = new CidrSet(next.admin.allowFrom);
  }
}

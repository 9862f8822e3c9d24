import { demoBanner } from "../demo/banner.ts";
import type { Gateway } from "../gateway/open.ts";
import { isLoopbackHost } from "../values/ip.ts";
import { faultList, type Read } from "./reading.ts";

/** Tells who started it what a log is no place for. People read stderr; stdout is for the log alone. */
export function greet(
  { config, file, fileFaults }: Read,
  gateway: Pick<Gateway, "demoUrl" | "firstToken"> & { readonly link: string | null },
  url: string,
  adminUrl: string,
): void {
  if (fileFaults.length > 0)
    process.stderr.write(
      `sluice: ${faultList(file ?? "config.json", fileFaults)}\nsluice: serving the configuration that was in force last (--last-good)\n`,
    );
  if (config.demo && gateway.demoUrl !== null) {
    if (file === null) process.stderr.write("sluice: there is no config.json or config.yaml here: running the embedded demo\n");
    process.stderr.write(demoBanner(config, url, gateway.demoUrl));
  }
  if (gateway.firstToken !== null)
    process.stderr.write(
      `\n  Admin token (made now, shown only this once):\n\n    ${gateway.firstToken}\n\n    curl -H 'Authorization: Bearer ${gateway.firstToken}' ${adminUrl}/admin/consumers\n\n`,
    );
  const console = gateway.link === null ? null : linkTo(adminUrl, gateway.link);
  if (console !== null) process.stderr.write(`\n  Console (this link signs you in, once, within 30 minutes):\n\n    ${console}\n\n`);
}

/** Gives the link that signs in to the console; `null` where it would not work: others could read it on the way. */
function linkTo(adminUrl: string, secret: string): string | null {
  const { protocol, hostname } = new URL(adminUrl);
  // The secret stands in the fragment, which no browser sends on: not in the Referer, nor to the gateway's own log.
  return protocol === "https:" || isLoopbackHost(hostname.replace(/^\[|\]$/g, "")) ? `${adminUrl}/console#start=${secret}` : null;
}

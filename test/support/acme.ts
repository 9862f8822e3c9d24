import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type AcmeEvent, AcmeSource, type AcmeSourceDeps } from "../../src/edge/acme/source.ts";
import { MemoryStore } from "../../src/edge/acme/store.ts";
import type { AcmeConfig } from "../../src/edge/settings.ts";
import { FakeClock } from "./clock.ts";
import { type Folder, folder } from "./process.ts";
import { CERTIFICATE } from "./tls.ts";

/** What orders certificates, with a port at which it answers challenges. */
export interface Ordering {
  readonly source: AcmeSource;
  readonly clock: FakeClock;
  readonly events: AcmeEvent[];
  readonly counts: { readonly issued: number; readonly failed: number };
  readonly httpPort: number;
  /** Does what is due, and waits until that is done. */
  look(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

export interface OrderingOptions extends Partial<Omit<AcmeSourceDeps, "settings" | "clock" | "tell" | "counts">> {
  readonly settings: Partial<AcmeConfig> & { readonly directory: string };
  readonly clock?: FakeClock;
  /** The port for challenges; left out: a free one. */
  readonly httpPort?: number;
}

/** A file with the certificate by which authorities of tests are known. */
const caIn = (place: Folder): string => {
  const file = join(place.path, "ca.pem");
  writeFileSync(file, CERTIFICATE);
  return file;
};

export function ordering({ settings, clock = new FakeClock(Date.now()), httpPort = 0, ...deps }: OrderingOptions): Ordering {
  const place = folder();
  const events: AcmeEvent[] = [];
  const counts = { issued: 0, failed: 0 };
  const source = new AcmeSource({
    settings: { hosts: ["api.example.com"], email: null, profile: null, eab: null, ca: caIn(place), ...settings },
    ...{ clock, store: new MemoryStore(), share: null, random: () => 0, counts, tell: (event: AcmeEvent) => void events.push(event) },
    ...deps,
  });
  const front = Bun.serve({
    ...{ hostname: "127.0.0.1", port: httpPort },
    fetch: async ({ url }) => {
      const answer = await source.proof(new URL(url).pathname.replace("/.well-known/acme-challenge/", ""));
      return answer === null ? new Response(null, { status: 404 }) : new Response(answer);
    },
  });
  return {
    ...{ source, clock, events, counts, httpPort: front.port ?? 0 },
    look: async () => {
      source.look();
      await source.settled();
    },
    [Symbol.asyncDispose]: async () => {
      await source.close();
      await front.stop(true);
      place[Symbol.dispose]();
    },
  };
}

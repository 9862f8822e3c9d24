import { WholeBody } from "../http/body.ts";
import { type Call, type Origin, originOf, type UpstreamClient, UpstreamFailure, type UpstreamResponse } from "../http/client.ts";
import { VERSION } from "../version.ts";
import type { Outcome } from "./deliveries.ts";
import { addressesOf, DestinationFault, hostOf, type Resolve } from "./destination.ts";
import { signatureOf } from "./signature.ts";

/** Describes one event that is sent to one receiver. */
export interface Message {
  readonly id: string;
  readonly body: string;
}

/** Describes where an event goes. */
export interface Receiver {
  readonly url: string;
  readonly secret: string;
  /** True for one that the admin API made, which leads to the internet alone; one of the file leads wherever it says. */
  readonly isFromApi: boolean;
}

export interface SenderDeps {
  readonly client: UpstreamClient;
  /** Gives milliseconds since 1970. */
  readonly wall: () => number;
  /** Gives `admin.upstreamAllow`. */
  readonly allow: () => readonly string[] | null;
  /** Looks names up; left out: the system does. */
  readonly resolve?: Resolve;
  /** The authorities that receivers' certificates are checked by, as PEM; left out: the system's. */
  readonly ca?: string;
}

/** Milliseconds for all of a try, and for its connection alone. */
const TIMEOUT = 15_000;
const CONNECT_WITHIN = 5000;
/** The most bytes of an answer that are read and kept. */
const MAX_ANSWER = 4096;

/** Sends events to receivers. */
export class Sender {
  private readonly calls = new Set<Call>();

  constructor(private readonly deps: SenderDeps) {}

  /** Tries once, and gives what has come of it: it never rejects for what a receiver does. */
  async send(receiver: Receiver, message: Message): Promise<Outcome> {
    let last: unknown = null;
    try {
      for (const origin of await this.originsOf(receiver)) {
        try {
          return await this.post(origin, receiver, message);
        } catch (error) {
          last = error;
          // Another address of the same name may be there.
          if (!(error instanceof UpstreamFailure) || error.kind !== "connect") break;
        }
      }
    } catch (error) {
      if (!(error instanceof DestinationFault)) throw error;
      last = error;
    }
    return { status: null, answer: null, error: last instanceof Error ? last.message : String(last) };
  }

  /** Gives up what is under way: it is tried again after the next start. */
  close(): void {
    for (const call of this.calls) call.abort();
  }

  private async originsOf({ url, isFromApi }: Receiver): Promise<readonly Origin[]> {
    const { protocol, port } = new URL(url);
    const isTls = protocol === "https:";
    const at = port === "" ? (isTls ? 443 : 80) : Number(port);
    const host = hostOf(url);
    const { allow, resolve, ca = null } = this.deps;
    const own = { cert: null, key: null, ca, serverName: host, fault: null };
    if (!isFromApi) return [originOf(host, at, isTls, ca === null ? null : { ...own, id: "webhooks" })];
    const addresses = await addressesOf(url, allow(), resolve);
    // Connected to by the address that was judged, with the certificate of the name.
    return addresses.map((address) => originOf(address, at, isTls, { ...own, id: `webhook of ${host}` }));
  }

  private async post(origin: Origin, { url, secret }: Receiver, { id, body }: Message): Promise<Outcome> {
    const { host, pathname, search } = new URL(url);
    const timestamp = Math.floor(this.deps.wall() / 1000);
    const bytes = Buffer.from(body);
    const head = [
      `POST ${pathname}${search} HTTP/1.1`,
      `Host: ${host}`,
      `User-Agent: Sluice/${VERSION}`,
      "Accept: */*",
      "Content-Type: application/json",
      `Content-Length: ${bytes.length}`,
      `webhook-id: ${id}`,
      `webhook-timestamp: ${timestamp}`,
      `webhook-signature: ${signatureOf(secret, { id, timestamp, body })}`,
    ];
    const call = this.deps.client.send(origin, {
      ...{ method: "POST", head: `${head.join("\r\n")}\r\n\r\n`, body: new WholeBody(bytes), chunked: false, upgrade: false },
      ...{ connectTimeout: CONNECT_WITHIN, timeout: TIMEOUT, bodyTimeout: TIMEOUT },
      // Events are rare: a connection that was kept would often be found closed.
      reuse: "new",
    });
    this.calls.add(call);
    const patience = setTimeout(() => call.abort(), TIMEOUT);
    try {
      const response = await call.response;
      const answer = await startOf(response);
      return { status: response.status, answer, error: faultOf(response.status) };
    } catch (error) {
      if (error instanceof UpstreamFailure && error.kind === "aborted")
        throw new UpstreamFailure("timeout", `no answer within ${TIMEOUT / 1000} s`, true);
      throw error;
    } finally {
      clearTimeout(patience);
      this.calls.delete(call);
    }
  }
}

/** Gives why a status does not say that an event has arrived; `null`: it does. */
function faultOf(status: number): string | null {
  if (status >= 200 && status < 300) return null;
  if (status >= 300 && status < 400) return `answers ${status}: redirects are not followed`;
  return `answers ${status}`;
}

/** Reads the beginning of an answer, of which the rest is given up. What breaks off is told as far as it came. */
function startOf({ body }: UpstreamResponse): Promise<string> | string {
  if (body === null) return "";
  if (body instanceof Uint8Array) return textOf(body);
  return new Promise((resolve) => {
    const parts: Uint8Array[] = [];
    let size = 0;
    const done = (): void => resolve(textOf(Buffer.concat(parts, size)));
    body.start({
      write: (bytes) => {
        parts.push(Buffer.from(bytes));
        size += bytes.length;
        if (size >= MAX_ANSWER) {
          body.cancel();
          done();
        }
        return true;
      },
      end: done,
      fail: done,
    });
  });
}

const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes.subarray(0, MAX_ANSWER));

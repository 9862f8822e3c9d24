import type { Call, Origin, UpstreamClient, UpstreamRequest } from "./client.ts";

/** Sends each request by the version of HTTP that its target speaks. */
export class Clients implements UpstreamClient {
  constructor(
    private readonly http1: UpstreamClient,
    private readonly http2: UpstreamClient,
  ) {}

  send(origin: Origin, request: UpstreamRequest): Call {
    // A WebSocket leaves HTTP/1.1 (RFC 6455); few servers take it by HTTP/2 (RFC 8441).
    return origin.http2 === true && !request.upgrade ? this.http2.send(origin, request) : this.http1.send(origin, request);
  }

  close(): void {
    this.http2.close();
    this.http1.close();
  }
}

import type { UpstreamTunnel } from "../client.ts";
import type { Tunnel, TunnelEnd } from "../server.ts";
import { MessageBounds, type MessagePolicy, type Violation } from "./bounds.ts";
import { CLOSE, closeFrame, FrameReader, PING } from "./frames.ts";

/** Milliseconds that both ends have to take note of a close. */
const CLOSES_WITHIN = 2000;

/**
 * Joins the two ends of a WebSocket and bounds what the client sends. Frames are read as they pass. One that goes beyond the bounds does not:
 * in its place both ends are sent a Close frame with the reason, and then closed.
 */
export class BoundedWebSocket {
  private readonly bounds: MessageBounds;
  private readonly up = new FrameReader();
  private readonly down = new FrameReader();
  /** The client's end; `null` until it has its 101. */
  private client: TunnelEnd | null = null;
  /** Why it is being closed; `null`: it is not. */
  private violation: Violation | null = null;
  private isClientOver = false;
  private isBackendOver = false;
  private hasBackendClosed = false;
  private patience: Timer | null = null;

  /** `now`: milliseconds of a clock. `onViolation` learns why it is closed. */
  constructor(
    policy: MessagePolicy,
    private readonly backend: UpstreamTunnel,
    private readonly now: () => number,
    private readonly onViolation: (violation: Violation) => void,
  ) {
    this.bounds = new MessageBounds(policy, now());
  }

  /** What the client's connection writes to. */
  get fromClient(): Tunnel {
    return {
      write: (bytes) => this.receive(bytes),
      resume: () => this.backend.resume(),
      close: () => this.clientLeft(),
    };
  }

  /** Begins to write to the client. Gives what the backend's connection writes to. */
  join(client: TunnelEnd): Parameters<UpstreamTunnel["start"]>[0] {
    this.client = client;
    // Frames may have come with its request.
    if (this.violation !== null) this.tellClient(this.violation);
    return {
      write: (bytes) => this.pass(client, bytes),
      drained: () => client.resume(),
      close: () => this.backendLeft(client),
    };
  }

  private receive(bytes: Uint8Array): boolean {
    if (this.violation !== null) return true;
    const violations: Violation[] = [];
    const passed = this.up.read(bytes, (frame) => {
      const violation = this.bounds.judge(frame, this.now());
      if (violation !== null) violations.push(violation);
      return violation === null;
    });
    const fits = passed.length === 0 || this.backend.write(passed);
    const [violation] = violations;
    if (violation === undefined) return fits;
    this.close(violation);
    return true;
  }

  private pass(client: TunnelEnd, bytes: Uint8Array): boolean {
    const { violation } = this;
    if (violation === null) {
      // A frame's end is looked for in case one has to be put in behind it.
      const passed = this.down.read(bytes, ({ opcode }) => {
        if (opcode === CLOSE) this.hasBackendClosed = true;
        if (opcode === PING) this.bounds.pinged();
        return true;
      });
      return passed.length === 0 || client.write(passed);
    }
    if (this.isClientOver) return true;
    // The frame under way has to be whole before the client can be told.
    const passed = this.down.read(bytes, () => false);
    const fits = passed.length === 0 || client.write(passed);
    this.tellClient(violation);
    return fits || this.isClientOver;
  }

  private close(violation: Violation): void {
    this.violation = violation;
    this.onViolation(violation);
    this.backend.write(closeFrame(violation.code, violation.reason, true));
    this.patience = setTimeout(() => this.giveUp(), CLOSES_WITHIN);
    this.tellClient(violation);
  }

  /** Tells the client, once no frame of the backend's is under way. */
  private tellClient({ code, reason }: Violation): void {
    const { client } = this;
    if (client === null || this.isClientOver || !this.down.isBetween) return;
    this.isClientOver = true;
    // The backend's own Close is the last word.
    if (!this.hasBackendClosed) client.write(closeFrame(code, reason, false));
    client.part();
    // What still comes is dropped, up to the backend's own Close.
    this.backend.resume();
  }

  /** Closes what has not closed by itself. */
  private giveUp(): void {
    if (!this.isClientOver) {
      this.isClientOver = true;
      this.client?.part();
    }
    if (!this.isBackendOver) {
      this.isBackendOver = true;
      this.backend.close();
    }
  }

  private clientLeft(): void {
    this.isClientOver = true;
    // Who has broken the bounds leaves the backend the time to hear of it.
    if (this.violation !== null || this.isBackendOver) return;
    this.isBackendOver = true;
    this.backend.close();
  }

  private backendLeft(client: TunnelEnd): void {
    if (this.patience !== null) clearTimeout(this.patience);
    this.isBackendOver = true;
    if (this.isClientOver) return;
    this.isClientOver = true;
    if (this.violation === null) client.close();
    else client.part();
  }
}

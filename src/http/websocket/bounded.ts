import type { UpstreamTunnel } from "../client.ts";
import type { Tunnel } from "../server.ts";
import { MessageBounds, type MessagePolicy, type Violation } from "./bounds.ts";
import { CLOSE, closeFrame, FrameReader } from "./frames.ts";

/** Describes a client's end of a WebSocket, as its connection has it. */
export interface ClientEnd {
  write(bytes: Uint8Array): boolean;
  resume(): void;
  /** Closes it after what was written: the other end has closed. */
  end(): void;
  /** Closes it after what was written, for a client that may still be sending: what comes is dropped, so that it reads what was written. */
  part(): void;
}

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
  /** Why it is being closed; `null`: it is not. */
  private violation: Violation | null = null;
  private isClientOver = false;
  private isBackendOver = false;
  private hasBackendClosed = false;
  private patience: Timer | null = null;

  /** `now`: milliseconds of a clock. `onViolation` learns why it is closed. */
  constructor(
    policy: MessagePolicy,
    private readonly client: ClientEnd,
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

  /** What the backend's connection writes to. */
  get fromBackend(): Parameters<UpstreamTunnel["start"]>[0] {
    return {
      write: (bytes) => this.pass(bytes),
      drained: () => this.client.resume(),
      close: () => this.backendLeft(),
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

  private pass(bytes: Uint8Array): boolean {
    const { violation } = this;
    if (violation === null) {
      // A frame's end is looked for in case one has to be put in behind it.
      const passed = this.down.read(bytes, (frame) => {
        if (frame.opcode === CLOSE) this.hasBackendClosed = true;
        return true;
      });
      return passed.length === 0 || this.client.write(passed);
    }
    if (this.isClientOver) return true;
    // The frame under way has to be whole before the client can be told.
    const passed = this.down.read(bytes, () => false);
    const fits = passed.length === 0 || this.client.write(passed);
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
    if (this.isClientOver || !this.down.isBetween) return;
    this.isClientOver = true;
    // The backend's own Close is the last word.
    if (!this.hasBackendClosed) this.client.write(closeFrame(code, reason, false));
    this.client.part();
    // What still comes is dropped, up to the backend's own Close.
    this.backend.resume();
  }

  /** Closes what has not closed by itself. */
  private giveUp(): void {
    if (!this.isClientOver) {
      this.isClientOver = true;
      this.client.part();
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

  private backendLeft(): void {
    if (this.patience !== null) clearTimeout(this.patience);
    this.isBackendOver = true;
    if (this.isClientOver) return;
    this.isClientOver = true;
    if (this.violation === null) this.client.end();
    else this.client.part();
  }
}

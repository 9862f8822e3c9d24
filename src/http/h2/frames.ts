/** The types of frames (RFC 9113 §6). */
export const FRAME = {
  data: 0,
  headers: 1,
  priority: 2,
  rstStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

/** The flags of frames that are looked at. */
export const FLAG = { endStream: 1, ack: 1, endHeaders: 4, padded: 8 } as const;

/** The codes of errors (RFC 9113 §7). */
export const ERROR = {
  none: 0,
  protocol: 1,
  internal: 2,
  streamClosed: 5,
  frameSize: 6,
  refusedStream: 7,
  cancel: 8,
  enhanceYourCalm: 11,
  http11Required: 13,
} as const;
export type ErrorCode = (typeof ERROR)[keyof typeof ERROR];

/** What a client that speaks HTTP/2 sends first (RFC 9113 §3.4). */
export const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");
/** The part of it that reads as a head of HTTP/1.1. */
export const PREFACE_HEAD = PREFACE.subarray(0, 18);

/** Bytes of a frame's header. */
export const HEADER = 9;
/** The bytes that a frame's payload may have, since no setting of ours allows more. */
export const MAX_FRAME = 16_384;
/** The highest id that a stream can have. */
export const MAX_STREAM = 2 ** 31 - 1;

/** The frame of SETTINGS that are all as they are without. */
export const NO_SETTINGS = Buffer.from([0, 0, 0, FRAME.settings, 0, 0, 0, 0, 0]);

/** Makes the frame that ends a connection. `last`: the highest stream that may have been answered; those above can be sent again elsewhere. */
export function goAway(last: number, code: ErrorCode): Buffer {
  const frame = Buffer.alloc(HEADER + 8);
  frame[2] = 8;
  frame[3] = FRAME.goAway;
  frame.writeUInt32BE(last, HEADER);
  frame.writeUInt32BE(code, HEADER + 4);
  return frame;
}

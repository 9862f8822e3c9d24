import { type Static, Type } from "@sinclair/typebox";
import type { Fault, Path } from "../schema/faults.ts";
import { Duration, FIELD_NAME, Shape, Size } from "../schema/fields.ts";

export const CorsConfig = Shape(
  {
    origins: Type.Array(
      Type.String({ pattern: "^(\\*|null|[a-z][a-z0-9+.-]*://[^/\\s]+)$", expects: 'an origin such as "https://app.example.com", or "*"' }),
      { minItems: 1, maxItems: 256, description: "Origins whose pages may read answers; * is any, without credentials." },
    ),
    credentials: Type.Boolean({ default: false, description: "Whether pages may send cookies and read the answers." }),
    maxAge: Duration("How long browsers may remember what is allowed.", { default: "10m" }),
  },
  "What pages of other origins may do with the route.",
);
export type CorsConfig = Static<typeof CorsConfig>;

/** Gives the faults of a CORS configuration that its schema can't express. Their paths begin with `at`. */
export const corsFaults = ({ credentials, origins }: CorsConfig, at: Path): Fault[] =>
  credentials && origins.includes("*")
    ? [{ path: [...at, "origins"], message: 'with credentials name the origins: browsers refuse "*"' }]
    : [];

export const WebSocketConfig = Shape(
  {
    maxMessage: Type.Union([Size("A size."), Type.Null()], {
      default: "1mb",
      description:
        "Largest message, all its fragments together: a larger one does not reach the backend, and both sides are closed with 1009. It is measured as it is sent, so that backends are offered no compression (permessage-deflate). null: any.",
      expects: 'a size such as "64kb" or "1mb", or null',
    }),
    messagesPerSecond: Type.Union([Type.Integer({ minimum: 1, maximum: 1e6 }), Type.Null()], {
      default: null,
      description:
        "Messages and pings that one connection may send in a second, with a second's worth at once: beyond it both sides are closed with 1008. Small fragments and unasked pongs count as well. null: any number.",
      expects: "a whole number from 1, or null",
    }),
  },
  "What callers may send over a WebSocket; backends may send what they like.",
);
export type WebSocketConfig = Static<typeof WebSocketConfig>;

const HeaderRules = (description: string) =>
  Shape(
    {
      set: Type.Record(
        Type.String({ pattern: FIELD_NAME }),
        Type.String({ pattern: "^[\\x20-\\x7e\\t\\x80-\\xff]{0,4096}$", expects: "a header's value in one line" }),
        {
          additionalProperties: false,
          default: {},
          description: "Fields that are set, whatever was there. What looks like a credential by its name is not shown again.",
          secretNames: "auth|cookie|token|secret|password|key|credential",
        },
      ),
      remove: Type.Array(Type.String({ pattern: FIELD_NAME, expects: "a header's name" }), {
        default: [],
        maxItems: 128,
        description: "Fields that are not passed on.",
      }),
    },
    description,
    { default: {} },
  );

export const HeadersConfig = Shape(
  {
    request: HeaderRules("What the backend gets."),
    response: HeaderRules("What the caller gets; what is set is in Sluice's own answers on this route as well."),
  },
  "Rules for header fields.",
  { default: {} },
);
export type HeadersConfig = Static<typeof HeadersConfig>;

/** Gives the faults of rules for fields that are Sluice's own. Their paths begin with `at`. */
export function headerFaults(headers: HeadersConfig, at: Path): Fault[] {
  const faults: Fault[] = [];
  const say = (path: Path, message: string) => faults.push({ path: [...at, ...path], message });
  for (const direction of ["request", "response"] as const) {
    const { set, remove } = headers[direction];
    for (const name of Object.keys(set)) if (isOwnField(name, direction)) say([direction, "set", name], "is Sluice's own to set");
    for (const [i, name] of remove.entries()) if (isOwnField(name, direction)) say([direction, "remove", i], "is Sluice's own");
  }
  return faults;
}

/** Tells whether a field frames a message, belongs to one hop, or says who calls: rules can't touch it. A request's Host may be set. */
export function isOwnField(name: string, direction: "request" | "response"): boolean {
  // Some backends read _ as -.
  const lower = name.toLowerCase().replaceAll("_", "-");
  if (direction === "request" && /^x-(forwarded-(for|proto|host)|consumer-(id|tier)|request-id)$/.test(lower)) return true;
  return /^(connection|content-length|transfer-encoding|keep-alive|upgrade|te|trailer|proxy-connection|x-request-id|x-process-time)$/.test(
    lower,
  );
}

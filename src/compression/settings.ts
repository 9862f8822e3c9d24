import { type Static, Type } from "@sinclair/typebox";
import type { HeadersConfig } from "../exchange/settings.ts";
import type { Fault, Path } from "../schema/faults.ts";
import { Shape, Size } from "../schema/fields.ts";

const Coding = Type.Union([Type.Literal("zstd"), Type.Literal("br"), Type.Literal("gzip")]);
export type Coding = Static<typeof Coding>;

/** The settings of a route's `compress`. */
export const CompressConfig = Shape(
  {
    encodings: Type.Array(Coding, {
      default: ["zstd", "br", "gzip"],
      minItems: 1,
      maxItems: 3,
      description: "The codings to use, the best first: of those that a caller likes equally it decides.",
    }),
    types: Type.Array(
      Type.String({
        pattern: "^([a-z0-9!#$&^_.+-]{1,64}|\\*)/([a-z0-9!#$&^_.+-]{1,64}|\\*|\\*\\+[a-z0-9.-]{1,32})$",
        expects: 'a media type in lower case such as "application/json", "text/*" or "*/*+json"',
      }),
      {
        default: [
          ...["text/*", "application/json", "*/*+json", "application/xml", "*/*+xml", "application/javascript", "application/x-ndjson"],
          ...["application/wasm", "application/vnd.ms-fontobject", "font/otf", "font/ttf"],
        ],
        minItems: 1,
        maxItems: 64,
        description: "The media types of responses that are compressed. Events (text/event-stream) and gRPC never are.",
      },
    ),
    minSize: Size("Smaller responses go out as they are.", { default: "1kb" }),
  },
  "Compresses responses for callers who take that (RFC 9110 §12.5.3).",
);
export type CompressConfig = Static<typeof CompressConfig>;

/** Gives the faults of a route's compression that the schema can't express. `at`: the route's place. */
export function compressFaults({ response }: HeadersConfig, at: Path): Fault[] {
  const clashes = (name: string): boolean => ["content-encoding", "vary"].includes(name.toLowerCase());
  const message = "contradicts compress, which sets it";
  return [
    ...Object.keys(response.set)
      .filter(clashes)
      .map((name) => ({ path: [...at, "headers", "response", "set", name], message, isOfName: true })),
    ...response.remove.flatMap((name, i) => (clashes(name) ? [{ path: [...at, "headers", "response", "remove", i], message }] : [])),
  ];
}

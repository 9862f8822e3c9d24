import { parseSize } from "../values/units.ts";
import type { Coding, CompressConfig } from "./settings.ts";

/** Holds a route's compression, made ready. */
export interface RouteCompress {
  /** The codings, the best first. */
  readonly codings: readonly Coding[];
  /** Bytes that a response must have. */
  readonly minSize: number;
  /** Tells whether responses of a media type, in lower case and without parameters, are compressed. */
  readonly takes: (mediaType: string) => boolean;
}

/** What never is, whatever the settings say: compressors hold back what a stream of events or of gRPC's messages must bring at once. */
const NEVER = /^(?:text\/event-stream$|application\/grpc|multipart\/(?:x-mixed-replace|byteranges)$)/;
/** The number of media types whose answer is remembered. */
const MAX_REMEMBERED = 256;

export function compileCompress(config: CompressConfig | null): RouteCompress | null {
  if (config === null) return null;
  const matches = new RegExp(`^(?:${config.types.map(patternOf).join("|")})$`);
  const remembered = new Map<string, boolean>();
  return {
    codings: config.encodings,
    minSize: parseSize(config.minSize),
    takes: (mediaType) => {
      const known = remembered.get(mediaType);
      if (known !== undefined) return known;
      const isTaken = matches.test(mediaType) && !NEVER.test(mediaType);
      if (remembered.size < MAX_REMEMBERED) remembered.set(mediaType, isTaken);
      return isTaken;
    },
  };
}

const patternOf = (type: string): string => type.replace(/[.+^$]/g, "\\$&").replaceAll("*", "[^/]+");

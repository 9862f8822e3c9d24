import type { MessagePolicy } from "../http/websocket/bounds.ts";
import { parseSize } from "../values/units.ts";
import type { WebSocketConfig } from "./settings.ts";

export const compileWebSocket = (config: WebSocketConfig | null): MessagePolicy | null =>
  config === null
    ? null
    : {
        maxMessage: config.maxMessage === null ? Number.POSITIVE_INFINITY : parseSize(config.maxMessage),
        perSecond: config.messagesPerSecond ?? Number.POSITIVE_INFINITY,
      };

/**
 * Gives the fields of a request that are not passed on where messages are measured: one that an extension has compressed would be larger than
 * it looks.
 */
export const unmeasurable = (policy: MessagePolicy | null): readonly string[] =>
  policy === null || policy.maxMessage === Number.POSITIVE_INFINITY ? [] : ["sec-websocket-extensions"];

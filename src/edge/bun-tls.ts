import { connect, createSecureContext } from "node:tls";

// What Bun 1.4 can do and says nowhere stands here. Where it can no longer, all callers get the listener's own certificate.

/** What a handshake is made with, as Bun's sockets take it. */
export type NativeContext = object;

/** Holds a certificate's chain and its key, PEM, and the authorities of clients' certificates where there are any. */
export interface ContextText {
  readonly cert: string;
  readonly key: string;
  readonly ca?: string;
}

/** Makes what a handshake is made with. Throws where the texts can't be served with. */
export const contextOf = (texts: ContextText): NativeContext =>
  (createSecureContext(texts) as unknown as { readonly context: object }).context;

/**
 * Gives the handler of a listening socket's that chooses by the name that a client asks for (RFC 6066 §3); `undefined`: the listener's own certificate. It is
 * called once for each handshake with a name. Which versions are spoken, what is offered by ALPN and whether a certificate is asked for says the listener.
 */
export const choosing = (choose: (name: string) => NativeContext | undefined): object => ({
  serverName: (_data: unknown, name: string): NativeContext | undefined => choose(name),
});

/** Milliseconds that a handshake with ourselves may take. */
const WITHIN = 2000;

/** Tells whether a certificate can be chosen by name: it makes a handshake with itself, with a listener that has none but by name. */
export async function canChoose(texts: ContextText): Promise<boolean> {
  try {
    const context = contextOf(texts);
    const socket = { data: () => {}, ...choosing((name) => (name === "sluice.test" ? context : undefined)) };
    const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, tls: { minVersion: 0x0303 } as object, socket });
    try {
      return await shakesHands(listener.port);
    } finally {
      listener.stop(true);
    }
  } catch {
    return false;
  }
}

/** Tells whether a handshake with a port of this machine comes about. Whose certificate it is makes no difference: nothing is sent. */
const shakesHands = (port: number): Promise<boolean> => {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect({ host: "127.0.0.1", port, servername: "sluice.test", rejectUnauthorized: false });
  const patience = setTimeout(() => resolve(false), WITHIN);
  socket.on("secureConnect", () => resolve(true));
  for (const event of ["error", "close"]) socket.on(event, () => resolve(false));
  return promise.finally(() => {
    clearTimeout(patience);
    socket.destroy();
  });
};

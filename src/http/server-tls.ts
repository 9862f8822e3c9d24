/** Says by what a server speaks TLS. It may become another while the server runs. */
export interface ServerTls {
  /** Another number after each change of what follows: the server then listens anew, with the same socket. */
  readonly version: number;
  /** The options of TLS, as Bun.listen takes them, without those of ALPN. */
  readonly options: object;
  /** What a listening socket's handlers have besides those of its connections. */
  readonly handlers: object;
}

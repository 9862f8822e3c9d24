import type { ServerTls } from "../http/server-tls.ts";
import { choosing, contextOf, type NativeContext } from "./bun-tls.ts";
import { ByName } from "./by-name.ts";
import type { ClientAuthorities, ServedCertificate, TlsInForce } from "./certificates.ts";
import { isCertificate, pemBlocks } from "./pem.ts";
import type { TlsConfig } from "./settings.ts";

/** The versions of TLS as Bun's listeners take them (RFC 8446 §4.1.2). */
const VERSIONS: Readonly<Record<TlsConfig["minVersion"], number>> = { "1.2": 0x0303, "1.3": 0x0304 };

/** What a listener asks clients for. */
const askingFor = (clients: ClientAuthorities | null): object =>
  clients === null ? {} : { ca: authoritiesOf(clients), requestCert: true, rejectUnauthorized: clients.require };

const authoritiesOf = ({ pem }: ClientAuthorities): string =>
  pemBlocks(pem)
    .filter(isCertificate)
    .map(({ text }) => text)
    .join("");

/** Says by what listeners speak TLS: it follows what is in force. */
export class ListenerTls implements ServerTls {
  version = 0;
  options: object = {};
  handlers: object = {};
  private text = "";
  private byName = new ByName<NativeContext>([]);
  private contexts = new Map<string, NativeContext>();

  /** Follows what is in force. `choosesByName`: false where the listener's own certificate serves all. */
  follow({ certificates, clients }: TlsInForce, { minVersion }: Pick<TlsConfig, "minVersion">, choosesByName: boolean): void {
    const [first] = certificates;
    const ca = clients === null ? undefined : authoritiesOf(clients);
    // By no authority at all everybody's would be taken: nobody comes in then.
    const isClosed = ca === "";
    const chooses = choosesByName && !isClosed && certificates.length > 1;
    this.byName = chooses ? this.contextsOf(certificates, ca) : new ByName([]);
    const options = {
      // Without a certificate each handshake is refused.
      ...(first === undefined || isClosed ? {} : { cert: first.cert, key: first.key }),
      ...{ minVersion: VERSIONS[minVersion], ...askingFor(clients) },
    };
    // A listener is begun anew for what stands in it alone: another certificate for one name of several is chosen from the next handshake on.
    const text = JSON.stringify([options, chooses]);
    if (text === this.text) return;
    this.text = text;
    this.options = options;
    this.handlers = chooses ? choosing((name) => this.byName.get(name)) : {};
    this.version++;
  }

  private contextsOf(certificates: readonly ServedCertificate[], ca: string | undefined): ByName<NativeContext> {
    const before = this.contexts;
    this.contexts = new Map();
    return new ByName(
      certificates.map(({ names, cert, key }) => {
        const text = `${cert}${key}${ca ?? ""}`;
        const context = before.get(text) ?? contextOf({ cert, key, ...(ca === undefined ? {} : { ca }) });
        this.contexts.set(text, context);
        return [names, context];
      }),
    );
  }
}

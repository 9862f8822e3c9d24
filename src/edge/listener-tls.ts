import type { ServerTls } from "../http/server-tls.ts";
import { choosing, contextOf, type NativeContext } from "./bun-tls.ts";
import { ByName } from "./by-name.ts";
import type { ClientAuthorities, ServedCertificate, TlsInForce } from "./certificates.ts";
import { askingFor } from "./clients/authorities.ts";
import type { TlsConfig } from "./settings.ts";

/** The versions of TLS as Bun's listeners take them (RFC 8446 §4.1.2). */
const VERSIONS: Readonly<Record<TlsConfig["minVersion"], number>> = { "1.2": 0x0303, "1.3": 0x0304 };

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
    // By no authority at all everybody's would be taken: nobody comes in then.
    const isClosed = clients?.pem === "";
    const asking = isClosed ? {} : askingFor(clients);
    const chooses = choosesByName && !isClosed && certificates.length > 1;
    this.byName = chooses ? this.contextsOf(certificates, clients) : new ByName([]);
    const own = first === undefined || isClosed ? {} : { cert: first.cert, key: first.key, ...asking };
    // Without a certificate each handshake is refused.
    const options = { ...own, minVersion: VERSIONS[minVersion] };
    // A listener is begun anew for what stands in it alone: another certificate for one name of several is chosen from the next handshake on.
    const text = JSON.stringify([options, chooses]);
    if (text === this.text) return;
    this.text = text;
    this.options = options;
    this.handlers = chooses ? choosing((name) => this.byName.get(name)) : {};
    this.version++;
  }

  private contextsOf(certificates: readonly ServedCertificate[], clients: ClientAuthorities | null): ByName<NativeContext> {
    const before = this.contexts;
    this.contexts = new Map();
    const asking = askingFor(clients);
    return new ByName(
      certificates.map(({ names, cert, key }) => {
        const text = `${cert}${key}${clients?.pem ?? ""}`;
        const context = before.get(text) ?? contextOf({ cert, key, ...asking });
        this.contexts.set(text, context);
        return [names, context];
      }),
    );
  }
}

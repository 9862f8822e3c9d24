import type { CertificateSource, ServedCertificate } from "../certificates.ts";
import type { AcmeConfig } from "../settings.ts";
import type { AcmeStanding } from "./host.ts";
import type { AcmeEvent, AcmeSource } from "./source.ts";

/** Orders the certificates that the configuration in force names, whichever that is. */
export class AcmeOrders implements CertificateSource {
  onChange: (() => void) | null = null;
  /** Orders of this process since it began. */
  readonly counts = { issued: 0, failed: 0 };
  private settings: AcmeConfig | null = null;
  private source: AcmeSource | null = null;
  private readonly closing = new Set<Promise<void>>();

  /** Takes what makes the source for some settings, and what is told of its certificates. */
  constructor(
    private readonly make: (settings: AcmeConfig, counts: AcmeOrders["counts"]) => AcmeSource,
    private readonly tell: (event: AcmeEvent) => void,
  ) {}

  /** True while the configuration names nothing to order. */
  get isIdle(): boolean {
    return this.source === null;
  }

  get certificates(): readonly ServedCertificate[] {
    return this.source?.certificates ?? [];
  }

  get standings(): readonly AcmeStanding[] {
    return this.source?.standings ?? [];
  }

  /** Takes over a configuration; `null`: nothing is ordered. Where it is the same what has failed is tried again soon. */
  configure(settings: AcmeConfig | null): void {
    if (Bun.deepEquals(settings, this.settings)) {
      this.source?.lookAgain();
      return;
    }
    this.leave();
    this.settings = settings;
    this.source = settings === null ? null : this.make(settings, this.counts);
    if (this.source !== null) this.source.onChange = () => this.onChange?.();
    this.onChange?.();
  }

  /** See `AcmeSource`. */
  look(): void {
    this.source?.look();
  }

  /** See `AcmeSource`. */
  proof(token: string): string | null | Promise<string | null> {
    return this.source?.proof(token) ?? null;
  }

  async close(): Promise<void> {
    await Promise.all([...this.closing, this.source?.close()]);
  }

  /** Ends what the configuration before has begun; its troubles are nobody's any more. */
  private leave(): void {
    const { source } = this;
    if (source === null) return;
    source.onChange = null;
    const closing = source.close();
    this.closing.add(closing);
    void closing.finally(() => this.closing.delete(closing));
    for (const { place, trouble } of source.standings)
      if (trouble !== null) this.tell({ type: "certificateFailing", name: place, why: null, nextAt: 0 });
  }
}

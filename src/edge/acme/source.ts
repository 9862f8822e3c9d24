import type { Clock } from "../../values/clock.ts";
import type { CertificateSource, ServedCertificate } from "../certificates.ts";
import type { AcmeConfig } from "../settings.ts";
import { type Held, heldOf, nameOf, servedOf, textOf } from "./held.ts";
import { type AcmeStanding, Host } from "./host.ts";
import { isToken, order, type Proofs } from "./order.ts";
import { askWhen } from "./renewal-info.ts";
import { nextAfterRestart, nextWhenAsked, pauseAfter, pauseAfterOrder, untilNextWord } from "./schedule.ts";
import { forgetAccount, openSession, type Session } from "./session.ts";
import type { AcmeShare, HostWord, News } from "./share.ts";
import type { AcmeStore } from "./store.ts";
import { AcmeTrouble } from "./trouble.ts";

/** Says what happens to the certificate of a host. */
export type AcmeEvent =
  | { readonly type: "certificateOrdered"; readonly host: string; readonly endsAt: number; readonly renewsAt: number }
  /** It can't be ordered, and why; `null`: it is well again. `nextAt`: when it is tried again, in milliseconds since 1970. */
  | { readonly type: "certificateFailing"; readonly name: string; readonly why: string | null; readonly nextAt: number };

export interface AcmeSourceDeps {
  readonly settings: AcmeConfig;
  readonly store: AcmeStore;
  /** Joins it with other instances; `null`: it is alone. */
  readonly share: AcmeShare | null;
  readonly clock: Pick<Clock, "wall">;
  /** Gives a number from 0 up to 1. */
  readonly random: () => number;
  readonly tell: (event: AcmeEvent) => void;
  /** Counts the orders. */
  readonly counts: { issued: number; failed: number };
}

/** Orders, and questions when to renew, that are under way at the same time: one host that does not answer holds up few others. */
const MAX_ORDERS = 3;
const MAX_QUESTIONS = 3;
/** Milliseconds until it is looked again whether another process on the data folder has finished. */
const TURN_AGAIN = 5000;
/** Milliseconds until what could not be stored is stored again. */
const SAVE_AGAIN = 60_000;

/**
 * Orders certificates from an authority and renews them (RFC 8555, http-01), one for each host. It goes on by `look`, which is called about once a second.
 *
 * @example
 * const counts = { issued: 0, failed: 0 };
 * const source = new AcmeSource({ settings, counts, store: new MemoryStore(), share: null, clock: systemClock, random: Math.random, tell: console.log });
 * const timer = setInterval(() => source.look(), 1000);
 */
export class AcmeSource implements CertificateSource {
  certificates: readonly ServedCertificate[] = [];
  onChange: (() => void) | null = null;
  private readonly hosts: readonly Host[];
  private readonly shown = new Map<string, string>();
  private readonly closing = new AbortController();
  private readonly under = new Set<Promise<void>>();
  private session: Promise<Session> | null = null;
  private turn: { close(): void } | null = null;
  private orders = 0;
  private questions = 0;
  private isExchanging = false;

  constructor(private readonly deps: AcmeSourceDeps) {
    this.hosts = deps.settings.hosts.map((name) => new Host(nameOf(name)));
    for (const host of this.hosts) this.load(host);
    this.refresh();
  }

  /** Says how it stands with each host. */
  get standings(): readonly AcmeStanding[] {
    return this.hosts.map(({ standing }) => standing);
  }

  /** Does what is due: orders, asks when to renew, exchanges with other instances. It returns at once. */
  look(): void {
    if (this.closing.signal.aborted) return;
    const { share, clock } = this.deps;
    const now = clock.wall();
    if (share !== null && !this.isExchanging) this.begin(this.exchange(share));
    for (const host of this.hosts) {
      if (host.unsaved !== null && now >= host.unsaved.nextAt) this.save(host);
      if (host.isBusy || share?.isOrderer === false) continue;
      if (now >= host.dueAt) {
        if (this.orders < MAX_ORDERS) this.begin(this.renew(host));
      } else if (host.isOwn && now >= host.askAt && this.questions < MAX_QUESTIONS) this.begin(this.ask(host));
    }
  }

  /** Tries again soon what has failed: what was wrong may be mended. */
  lookAgain(): void {
    for (const host of this.hosts)
      if (host.tries !== null) host.tries = { ...host.tries, nextAt: nextWhenAsked(host.tries.nextAt, host.tries.failedAt) };
  }

  /** Gives what is to be answered at `/.well-known/acme-challenge/TOKEN`; `null`: nobody asks for this. */
  proof(token: string): string | null | Promise<string | null> {
    if (!isToken(token)) return null;
    return this.shown.get(token) ?? this.deps.store.proof(token) ?? this.deps.share?.proof(token) ?? null;
  }

  /** Ends what is under way, and leaves the ordering to others. */
  async close(): Promise<void> {
    this.closing.abort(new AcmeTrouble("the gateway stops"));
    await Promise.all(this.under);
    await this.deps.share?.leave().catch(() => {});
  }

  /** Waits until nothing is under way any more. */
  async settled(): Promise<void> {
    while (this.under.size > 0) await Promise.all(this.under);
  }

  private begin(work: Promise<void>): void {
    this.under.add(work);
    void work.finally(() => this.under.delete(work));
  }

  /** Takes what is stored for a host. */
  private load(host: Host): void {
    const { store, clock } = this.deps;
    const now = clock.wall();
    const tries = store.tries(host.name);
    if (tries !== null) host.tries = { ...tries, nextAt: nextAfterRestart(tries.nextAt, tries.failedAt) };
    const own = store.certificate(host.name);
    try {
      if (own !== null) Object.assign(host, { held: heldOf(host.name, own), isOwn: true });
    } catch (error) {
      const why = `the stored certificate can't be used, another is ordered: ${reasonOf(error)}`;
      host.tries ??= { failures: 0, since: now, why, failedAt: now, nextAt: now };
    }
    if (host.held === null || host.held.endsAt <= now) {
      const other = bestOf(host.name, store.others(host.name));
      if (other !== null && other.endsAt > now) Object.assign(host, { held: other, isOwn: false });
    }
    if (host.tries !== null) this.tellFailing(host, host.tries.why);
  }

  private refresh(): void {
    this.certificates = this.hosts.flatMap(({ held }) => (held === null ? [] : [servedOf(held)]));
    this.onChange?.();
  }

  private async renew(host: Host): Promise<void> {
    host.isBusy = true;
    this.orders++;
    const { store, clock, settings, counts } = this.deps;
    try {
      this.turn ??= store.turn();
      if (this.turn === null) host.notBefore = clock.wall() + TURN_AGAIN;
      else if (!this.takeStored(host)) {
        const replaces = host.isOwn ? (host.held?.id ?? null) : null;
        const wish = { host: host.name, profile: settings.profile, replaces };
        const held = await this.inAccount(({ client, account }) => order(client, account, wish, this.proofs));
        counts.issued++;
        host.notBefore = clock.wall() + pauseAfterOrder(held.endsAt - clock.wall());
        this.take(host, held);
        this.deps.tell({ type: "certificateOrdered", host: host.name, endsAt: held.endsAt, renewsAt: host.dueAt });
      }
    } catch (error) {
      if (!this.closing.signal.aborted) this.failed(host, error);
    } finally {
      host.isBusy = false;
      if (--this.orders === 0) {
        this.turn?.close();
        this.turn = null;
      }
    }
  }

  /** Does something in the account's name; once more where the authority does not know the account any more. */
  private async inAccount<T>(work: (session: Session) => Promise<T>): Promise<T> {
    const open = (): Promise<Session> => {
      this.session ??= openSession({ ...this.deps, signal: this.closing.signal });
      return this.session;
    };
    try {
      try {
        return await work(await open());
      } catch (error) {
        if (!(error instanceof AcmeTrouble) || error.kind !== "accountDoesNotExist") throw error;
        await forgetAccount(this.deps);
        this.session = null;
        return await work(await open());
      }
    } catch (error) {
      // The next try reads everything anew: the account, and the file by which the authority is known.
      this.session = null;
      throw error;
    }
  }

  /** Takes a newer certificate that another process has put into the data folder. */
  private takeStored(host: Host): boolean {
    const pem = this.deps.store.certificate(host.name);
    const stored = pem === null ? null : bestOf(host.name, [pem]);
    if (stored === null || (host.isOwn && host.held !== null && stored.beginsAt <= host.held.beginsAt)) return false;
    if (stored.endsAt <= this.deps.clock.wall()) return false;
    this.adopt(host, stored);
    return true;
  }

  /** Serves a certificate, and stores it. */
  private take(host: Host, held: Held): void {
    this.adopt(host, held);
    this.save(host);
  }

  private adopt(host: Host, held: Held): void {
    const wasFailing = host.tries !== null;
    Object.assign(host, { held, isOwn: true, tries: null, word: null, askAt: 0, unsaved: null });
    if (wasFailing) this.tellFailing(host, null);
    this.refresh();
  }

  private save(host: Host): void {
    const { store, clock } = this.deps;
    const { unsaved } = host;
    try {
      if (host.held !== null) store.keepCertificate(host.name, textOf(host.held));
      store.keepTries(host.name, null);
      host.unsaved = null;
      if (unsaved !== null) this.tellFailing(host, null);
    } catch (error) {
      const why = `the certificate is served and can't be stored: ${reasonOf(error)}`;
      host.unsaved = { why, since: unsaved?.since ?? clock.wall(), nextAt: clock.wall() + SAVE_AGAIN };
      this.tellFailing(host, why);
    }
  }

  private failed(host: Host, error: unknown): void {
    const { store, clock, random, counts } = this.deps;
    const now = clock.wall();
    counts.failed++;
    const failures = (host.tries?.failures ?? 0) + 1;
    const asked = error instanceof AcmeTrouble ? error.retryAfter : null;
    const nextAt = Math.round(now + pauseAfter(failures, random(), asked));
    host.tries = { failures, since: host.tries?.since ?? now, why: reasonOf(error), failedAt: now, nextAt };
    this.tellFailing(host, host.tries.why);
    try {
      store.keepTries(host.name, host.tries);
    } catch {
      // It is told that the folder can't be written when there is a certificate to store.
    }
  }

  private tellFailing(host: Host, why: string | null): void {
    this.deps.tell({ type: "certificateFailing", name: host.name, why, nextAt: host.unsaved?.nextAt ?? host.dueAt });
  }

  /** Asks the authority when it wishes what it has given to be renewed. What it does not answer fails nothing: the time of life decides. */
  private async ask(host: Host): Promise<void> {
    const id = host.held?.id ?? null;
    const now = this.deps.clock.wall();
    host.askAt = now + untilNextWord(null);
    if (id === null) return;
    host.isBusy = true;
    this.questions++;
    try {
      host.word = await this.inAccount(({ client }) => askWhen(client, id, now));
      host.askAt = now + host.word.askIn;
    } catch (error) {
      if (error instanceof AcmeTrouble) host.askAt = now + untilNextWord(error.retryAfter);
    } finally {
      this.questions--;
      host.isBusy = false;
    }
  }

  private readonly proofs: Proofs = {
    show: async (token, answer) => {
      this.shown.set(token, answer);
      this.keepProof(token, answer);
      await this.deps.share?.show(token, answer);
    },
    hide: async (token) => {
      this.shown.delete(token);
      this.keepProof(token, null);
      // It ends there by itself.
      await this.deps.share?.hide(token).catch(() => {});
    },
  };

  private keepProof(token: string, answer: string | null): void {
    try {
      this.deps.store.keepProof(token, answer);
    } catch {
      // Another process on the folder can't answer then; this one can.
    }
  }

  /** Exchanges certificates, and how it stands, with other instances. */
  private async exchange(share: AcmeShare): Promise<void> {
    this.isExchanging = true;
    try {
      const own = this.hosts.flatMap(({ held, isOwn }) => (held !== null && isOwn ? [held] : []));
      const words = new Map(this.hosts.map(({ name, tries, dueAt }): [string, HostWord] => [name, { tries, renewsAt: dueAt }]));
      this.takeNews(await share.look(own, words), share.isOrderer);
    } catch {
      // Redis is away, which is told by itself: this instance serves what it has.
    } finally {
      this.isExchanging = false;
    }
  }

  private takeNews({ certificates, words, refused }: News, isOrderer: boolean): void {
    for (const host of this.hosts) {
      const held = certificates.find(({ host: name }) => name === host.name);
      if (held !== undefined && !host.isBusy) this.take(host, held);
      const word = words.get(host.name);
      host.toldRenewal = isOrderer ? null : (word?.renewsAt ?? null);
      const why = refused.get(host.name) ?? word?.tries?.why ?? null;
      if (isOrderer || why === (host.tries?.why ?? null)) continue;
      const now = this.deps.clock.wall();
      host.tries = why === null ? null : { failures: 0, since: now, failedAt: now, nextAt: now, ...word?.tries, why };
      this.tellFailing(host, why);
    }
  }
}

/** Gives the certificate that ends last of those that can be used; `null`: none can be. */
function bestOf(host: string, pems: readonly string[]): Held | null {
  const all = pems.flatMap((pem) => {
    try {
      return [heldOf(host, pem)];
    } catch {
      return [];
    }
  });
  return all.sort((a, b) => b.endsAt - a.endsAt)[0] ?? null;
}

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

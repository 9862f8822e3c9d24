import type { Consumers } from "../consumers/consumers.ts";
import { invalid, refused } from "../http/refused.ts";
import type { Keys } from "../keys/keys.ts";
import type { Documents } from "../records/documents.ts";
import { DOCUMENT_KINDS, type DocumentKind, KINDS } from "../records/kinds.ts";
import type { StagedDocument } from "../records/staged.ts";
import { type Fault, formatPath } from "../schema/faults.ts";
import { minimal } from "../schema/minimal.ts";
import { isObject } from "../values/json.ts";
import { type ConsumerStep, consumerSteps, type DumpedConsumer, dumpConsumers, makeConsumers } from "./consumers.ts";
import { withNames, withSecrets } from "./kept-secrets.ts";
import type { Done, Versions } from "./versions.ts";

/** The deletions beyond which a change must say that it means them. */
const MAX_UNSAID_DELETIONS = 10;

export interface StateDeps {
  readonly versions: Versions;
  readonly documents: Readonly<Record<DocumentKind, Documents<object>>>;
  readonly consumers: Consumers;
  readonly keys: Keys;
  /** Runs `work` as if these documents were in force. */
  readonly asIf: <T>(staged: readonly StagedDocument[], work: () => T) => T;
  /** Runs changes in one transaction: all of them or none. */
  readonly together: (work: () => void) => void;
}

/** Holds all that the API made, by the paths of the kinds and by names. */
export type DumpedState = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

/** Says what is to be made of a state. */
export interface Wanted {
  readonly state: DumpedState;
  /** Whether what the state does not have is deleted, of the kinds that it has. */
  readonly prune: boolean;
  /** Whether more than ten deletions are meant. */
  readonly yes: boolean;
  readonly note: string | null;
  readonly isTrial: boolean;
}

/** Undoes a trial. */
class Undo extends Error {}

/** Writes down all that the API made, and makes what is written down. */
export class State {
  constructor(private readonly deps: StateDeps) {}

  /** Gives all that the API made, with names in the place of secrets. `hasKeys`: with the hashes of keys. Throws 409 where there is too much of it. */
  dump(hasKeys: boolean): DumpedState {
    const { documents, consumers, versions } = this.deps;
    const texts = versions.journal.texts();
    const dumped = DOCUMENT_KINDS.map((kind): [string, Record<string, unknown>] => [
      KINDS[kind].path,
      Object.fromEntries(
        [...texts[kind]].map(([name, text]) => {
          const { schema } = documents[kind];
          return [name, withNames(schema, minimal(schema, documents[kind].opened(text)), `${KINDS[kind].path}.${name}`)];
        }),
      ),
    ]);
    return { ...Object.fromEntries(dumped), consumers: dumpConsumers(consumers, this.deps.keys, hasKeys) };
  }

  /** Makes what a state says, in one step: all of it or nothing. Throws 409 for deletions that nobody has said are meant, and 422 with all faults. */
  async apply(wanted: Wanted): Promise<Done> {
    const { versions, asIf, together } = this.deps;
    const documents = this.stepsTo(wanted);
    // Their fields are checked where they are made.
    const consumers = wanted.state.consumers as Readonly<Record<string, DumpedConsumer>> | undefined;
    const steps = consumerSteps(this.deps.consumers, this.deps.keys, consumers, wanted.prune);
    const gone = documents.filter(({ text }) => text === null).length + steps.filter(({ change }) => change === "deleted").length;
    if (gone > MAX_UNSAID_DELETIONS && !wanted.yes && !wanted.isTrial)
      throw refused("conflict", `This deletes ${gone} records: look at them by a dry run, and say that you mean it (--yes).`);
    const leaving = new Set(steps.map(({ id }) => `consumer ${id}`));
    const more = (): void => {
      makeConsumers(this.deps.consumers, this.deps.keys, steps);
      // Once more, now that they have left: there may be others.
      versions.tried(documents);
    };
    const all = (done: Done): Done => ({ ...done, ...withConsumers(done, steps) });
    if (wanted.isTrial) {
      const tried = versions.tried(documents, leaving);
      this.undone(() => asIf(documents, () => together(() => undo(more))), steps);
      return all(tried);
    }
    try {
      const step = { documents, text: null, note: wanted.note, action: "state.apply", subject: "state" };
      return all(await versions.make({ ...step, ...(steps.length === 0 ? {} : { leaving, more: () => asIf(documents, more) }) }));
    } catch (error) {
      this.forget(steps);
      throw error;
    }
  }

  /** Runs what ends with `Undo`, and has the registry forget what it saw of it. */
  private undone(work: () => void, steps: readonly ConsumerStep[]): void {
    try {
      work();
    } catch (error) {
      if (!(error instanceof Undo)) throw error;
    } finally {
      this.forget(steps);
    }
  }

  /** Reads anew what changes that came to nothing have left in memory. */
  private forget(steps: readonly ConsumerStep[]): void {
    for (const { id, key } of steps) {
      if (key === undefined) this.deps.consumers.refresh(id);
      else this.deps.keys.refresh(key.id ?? "", key.hash);
    }
  }

  /** Gives what makes the documents of a state of what is there. Throws 422. */
  private stepsTo({ state, prune }: Wanted): StagedDocument[] {
    const { documents, versions } = this.deps;
    const now = versions.journal.texts();
    const secrets = new Map<string, string>();
    for (const kind of DOCUMENT_KINDS)
      for (const [name, text] of now[kind])
        withNames(documents[kind].schema, documents[kind].opened(text), `${KINDS[kind].path}.${name}`, (of, secret) =>
          secrets.set(of, secret),
        );
    const faults: Fault[] = unknownKinds(state);
    const steps = DOCUMENT_KINDS.flatMap((kind): StagedDocument[] => {
      const { path } = KINDS[kind];
      const given = state[path];
      if (given === undefined) return [];
      const made = Object.entries(given).map(([name, value]): StagedDocument => {
        const at = [path, name];
        const lacking: string[] = [];
        const whole = withSecrets(
          value,
          (of) => secrets.get(of),
          (where, of) => {
            lacking.push(formatPath(where));
            faults.push({
              path: [...at, ...where],
              message: `${JSON.stringify(of)} is no secret that this gateway has: give the secret itself`,
            });
          },
        );
        const { value: filled, faults: all } = documents[kind].filled(whole);
        // Of what is lacking nothing else can be said.
        const wrong = all.filter(({ path: where }) => !lacking.includes(formatPath(where)));
        faults.push(...wrong.map((fault) => ({ ...fault, path: [...at, ...fault.path] })));
        const before = now[kind].get(name);
        const isSame = all.length === 0 && before !== undefined && Bun.deepEquals(documents[kind].opened(before), filled);
        // It has no faults: it is a document.
        return { kind, name, text: isSame ? before : all.length > 0 ? "" : documents[kind].closed(filled as object) };
      });
      const gone = prune ? [...now[kind].keys()].filter((name) => !Object.hasOwn(given, name)) : [];
      return [...made.filter(({ name, text }) => text !== now[kind].get(name)), ...gone.map((name) => ({ kind, name, text: null }))];
    });
    if (faults.length > 0) throw invalid(faults);
    return steps;
  }
}

function undo(work: () => void): never {
  work();
  throw new Undo();
}

function unknownKinds(state: DumpedState): Fault[] {
  const known: readonly string[] = [...DOCUMENT_KINDS.map((kind) => KINDS[kind].path), "consumers"];
  return Object.entries(state).flatMap(([name, value]): Fault[] => {
    if (!known.includes(name)) return [{ path: [name], message: `is nothing that a dump holds: ${known.join(", ")}`, isOfName: true }];
    return isObject(value) ? [] : [{ path: [name], message: "must be an object: each record by its name" }];
  });
}

function withConsumers(done: Done, steps: readonly ConsumerStep[]) {
  const of = (change: ConsumerStep["change"]): string[] => steps.filter((step) => step.change === change).map(({ subject }) => subject);
  return {
    created: [...done.created, ...of("created")],
    changed: [...done.changed, ...of("changed")],
    deleted: [...done.deleted, ...of("deleted")],
  };
}

import { RedisDown } from "../redis/link.ts";
import { Versions } from "../versions/versions.ts";
import type { Ground } from "./ground.ts";
import type { Services } from "./services.ts";
import { stagedFaults } from "./staged.ts";

/** Milliseconds until a version is tried again that could not be written: Redis was away, or the disk full. */
const AGAIN_EVERY = 5000;

/** Opens what tells and restores what the rules were. */
export function openVersions(
  { audit, live, inForce, emit, options }: Ground,
  { records, journal, replication }: Pick<Services, "records" | "journal" | "replication">,
): Versions {
  return new Versions({
    ...{ journal, audit, live, env: options.env ?? {}, documents: records.documents },
    config: () => inForce.config,
    faultsOf: (staged, leaving) => stagedFaults(staged, null, records, leaving),
    enter: (staged) => {
      records.takeOver(staged);
      emit({ type: "records", of: "all" });
    },
    alone: (work) => (replication === null ? work() : replication.write(work)),
  });
}

/** Has versions written of what comes into force by the file, from the start on. */
export function noteVersions({ occurrences, once, options, tell }: Ground, { versions }: Pick<Services, "versions">): void {
  const noted = (work: Promise<void>): void =>
    void work.catch((error: unknown) => {
      // It is tried again.
      if (!(error instanceof RedisDown)) tell(error);
    });
  // What stands in for a broken file is no text that anybody wrote.
  if ((options.fileFaults ?? []).length === 0) noted(versions.noteFile());
  occurrences.subscribe({
    reload: ({ faults }) => {
      if (faults.length === 0) noted(versions.noteFile());
    },
  });
  once(AGAIN_EVERY, () => noted(versions.noteUntold()));
}

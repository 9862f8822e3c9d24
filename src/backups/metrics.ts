import { counter, each, type Family, gauge, single } from "../values/family.ts";
import type { ScheduledBackups } from "./scheduled.ts";

/** Tells Prometheus of scheduled backups; nothing while there are none. */
export const backupFamilies = (backups: ScheduledBackups): readonly Family[] => [
  gauge("sluice_backup_age_seconds", "How old the newest scheduled backup is.", () => {
    const { age } = backups;
    return age === null ? [] : single(age / 1000);
  }),
  gauge("sluice_backup_failed", "1 while the last scheduled backup could not be made.", () => {
    const { hasFailed } = backups;
    return hasFailed === null ? [] : single(hasFailed ? 1 : 0);
  }),
  counter("sluice_backups_total", "Scheduled backups of this process by what became of them.", () =>
    backups.hasFailed === null ? [] : each("result", backups.counts),
  ),
];

import { type Family, gauge, single } from "../values/family.ts";

/** Gives the metric of whether the database can be written. */
export const storageFamilies = (isReadOnly: () => boolean): readonly Family[] => [
  gauge("sluice_storage_read_only", "1 while the database can't be written: the disk is full or failing, or the file is damaged.", () =>
    single(isReadOnly() ? 1 : 0),
  ),
];

import { Badge } from "../parts/badge.tsx";
import type { Managed } from "./types.ts";

/** Says who manages a record, where that is not the admin API. */
export const SourceBadge = ({ of }: { readonly of: Pick<Managed, "source"> }) => (of.source === "config" ? <Badge>file</Badge> : null);

/** Says why a record can't be changed here. */
export const ManagedByFile = ({ what }: { readonly what: string }) => (
  <div class="note">
    <p>
      The configuration file declares this {what}: it is changed there, and takes effect when you save the file. What is shown here can't be
      edited.
    </p>
  </div>
);

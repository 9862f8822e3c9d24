import { Badge } from "../parts/badge.tsx";
import { hrefTo } from "../router.ts";
import { declaredBy } from "./declared-by.ts";
import type { Managed } from "./types.ts";

/** Says who manages a record, where that is not the admin API. */
export const SourceBadge = ({ of }: { readonly of: Pick<Managed, "source"> }) =>
  of.source === "config" ? <Badge>{declaredBy.value}</Badge> : null;

/** The forms in which records are made, by what they are called. */
const FORMS: Readonly<Record<string, string>> = {
  consumer: hrefTo(["consumers"]),
  tier: hrefTo(["limits"], { new: "tier" }),
  route: hrefTo(["routes"], { new: "route" }),
  upstream: hrefTo(["routes"], { new: "upstream" }),
  pool: hrefTo(["pools"], { new: "pool" }),
};

/** Says why a record can't be changed here. */
export const ManagedByFile = ({ what }: { readonly what: string }) => (
  <div class="note">
    {declaredBy.value === "file" ? (
      <p>
        The configuration file declares this {what}: it is changed there, and takes effect when you save the file. What is shown here can't
        be edited.
      </p>
    ) : (
      <p>
        The embedded demo declares this {what}, which can't be edited.{" "}
        {FORMS[what] !== undefined && <a href={FORMS[what]}>{`Make a ${what} of your own`}</a>}
      </p>
    )}
  </div>
);

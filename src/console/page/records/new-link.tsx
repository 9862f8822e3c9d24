import { may } from "../session.ts";

/** Leads to the form of a new record, for those who may make one. */
export const NewLink = ({ href, words }: { readonly href: string; readonly words: string }) =>
  may("admin") ? (
    <a class="button primary" href={href}>
      {words}
    </a>
  ) : null;

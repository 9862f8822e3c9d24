import { SecretOnce } from "../../parts/copy.tsx";

/** Shows the secret that a webhook's events are signed with, once. */
export const Secret = ({ secret }: { readonly secret: string }) => (
  <SecretOnce
    secret={secret}
    what="secret"
    why="The receiver needs it to verify that events come from this gateway. It is not shown again."
  />
);

import { Code } from "../../parts/copy.tsx";

/** Shows the secret that a webhook's events are signed with, once. */
export const Secret = ({ secret }: { readonly secret: string }) => (
  <div class="note secret" role="status">
    <p>
      <strong>Copy this secret now.</strong> The receiver needs it to verify that events come from this gateway. It is not shown again.
    </p>
    <Code text={secret} what="secret" />
  </div>
);

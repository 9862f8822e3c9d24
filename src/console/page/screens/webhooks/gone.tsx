import { part, send } from "../../api.ts";
import { Act } from "../../parts/act.tsx";
import type { Webhook } from "./webhook.ts";

export interface GoneProps {
  readonly webhook: Webhook;
  readonly onChanged: () => void;
}

/** Says that a receiver wants no more events, and offers to send them again. */
export function Gone({ webhook: { name, source }, onChanged }: GoneProps) {
  const enable = async (): Promise<void> => {
    if (source === "config") await send("POST", "config/reload");
    else await send("PATCH", `webhooks/${part(name)}`, { body: { enabled: true } });
    onChanged();
  };
  return (
    <div class="note bad" role="alert">
      <p>
        <strong>Its receiver has answered 410 Gone: it wants no more events.</strong> Nothing is sent to it, and what happens is not kept
        for it. Enable it again when the receiver is back.
        {source === "config" && " As the file declares this webhook, the file is read again for that."}
      </p>
      <Act label="Enable again" needs={source === "config" ? "operator" : "admin"} done="It gets events again." act={enable} />
    </div>
  );
}

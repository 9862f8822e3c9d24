import type { ScreenProps } from "../index.ts";
import { Create } from "./create.tsx";
import { OneWebhook } from "./one-webhook.tsx";
import { WebhookList } from "./webhook-list.tsx";

/** Shows who is told what happens, and how that goes. */
export function Webhooks({ rest: [name], query }: ScreenProps) {
  if (name !== undefined) return <OneWebhook key={name} name={name} />;
  return query.has("new") ? <Create /> : <WebhookList />;
}

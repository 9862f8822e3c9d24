import { CopyButton } from "../../parts/copy.tsx";
import type { Configuration } from "./index.tsx";

/** Shows what is in force: with all defaults, and with secrets masked. */
export function InForce({ configuration: { config } }: { readonly configuration: Configuration }) {
  const text = JSON.stringify(config, null, 2);
  return (
    <div class="in-force">
      <div class="inline">
        <p class="fine">With all defaults. Secrets are masked. What the API made besides is on the screens of its kind.</p>
        <CopyButton text={text} what="configuration" />
      </div>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard. */}
      <section class="whole" tabIndex={0} aria-label="The configuration in force">
        <pre>
          <code>{text}</code>
        </pre>
      </section>
    </div>
  );
}

import { useEffect, useState } from "preact/hooks";
import { Icon } from "./icon.tsx";

/** Milliseconds for which a button says that it has copied. */
const SAYS_SO_FOR = 2000;

/** Puts a text into the clipboard. False where the browser does not let a page do so. */
async function copy(text: string): Promise<boolean> {
  // Where the page came by http from another machine there is no clipboard: then it goes the old way.
  if (navigator.clipboard !== undefined)
    return navigator.clipboard.writeText(text).then(
      () => true,
      () => false,
    );
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  const isCopied = document.execCommand("copy");
  area.remove();
  return isCopied;
}

/** Copies a text. `what` names it: "key", "command". */
export function CopyButton({ text, what }: { readonly text: string; readonly what: string }) {
  const [state, setState] = useState<"idle" | "copied" | "failed">("idle");
  useEffect(() => {
    if (state === "idle") return;
    const timer = setTimeout(() => setState("idle"), SAYS_SO_FOR);
    return () => clearTimeout(timer);
  }, [state]);
  return (
    <button type="button" class="copy" onClick={async () => setState((await copy(text)) ? "copied" : "failed")}>
      <Icon name={state === "copied" ? "check" : "copy"} />
      <span aria-live="polite">{state === "copied" ? "Copied" : state === "failed" ? "Select it and copy" : `Copy ${what}`}</span>
    </button>
  );
}

/** Shows text for a terminal or a file, to be copied. */
export const Code = ({ text, what = "command" }: { readonly text: string; readonly what?: string }) => (
  <div class="code">
    <pre>
      <code>{text}</code>
    </pre>
    <CopyButton text={text} what={what} />
  </div>
);

export interface SecretOnceProps {
  readonly secret: string;
  /** Names it: "key", "token". */
  readonly what: string;
  /** Why it must be copied now; left out: there is only a hash of it. */
  readonly why?: string;
}

/** Shows a secret that nobody will see again. */
export const SecretOnce = ({ secret, what, why = "Sluice keeps only a hash of it: you can't see it again." }: SecretOnceProps) => (
  <div class="note secret" role="status">
    <p>
      <strong>Copy this {what} now.</strong> {why}
    </p>
    <Code text={secret} what={what} />
  </div>
);

import { useState } from "preact/hooks";
import { get } from "../../api.ts";
import { useLive } from "../../live.ts";
import { ErrorNote } from "../../parts/error-note.tsx";
import { ScreenFrame } from "../../parts/screen.tsx";
import { Tabs } from "../../parts/tabs.tsx";
import type { PlacedFault } from "./file.ts";
import { FileEditor } from "./file-editor.tsx";
import { InForce } from "./in-force.tsx";
import { Standing } from "./standing.tsx";

/** `GET /admin/config`. */
export interface Configuration {
  /** `null`: the embedded demo. */
  readonly file: string | null;
  readonly loadedAt: string;
  /** What is wrong with the file as it is on the disk. */
  readonly faults: readonly PlacedFault[];
  readonly config: Readonly<Record<string, unknown>>;
}

/** Milliseconds between two looks. */
const LOOK_EVERY = 5000;

/** Shows the configuration, its file and what is in force of it, and changes the file. */
export function ConfigurationScreen() {
  const { value, error, refresh } = useLive("config", (signal) => get<Configuration>("config", {}, signal), LOOK_EVERY);
  const [tab, setTab] = useState("file");
  return (
    <ScreenFrame
      title="Configuration"
      intro="The file that the gateway was started with, and what is in force of it. A change is checked as a whole, and takes effect at once or not at all."
    >
      {error !== null && <ErrorNote problem={error} onRetry={refresh} />}
      {value !== null && (
        <>
          <Standing configuration={value} onReloaded={refresh} />
          <Tabs
            label="Views of the configuration"
            tabs={[
              { id: "file", name: "File" },
              { id: "inForce", name: "In force" },
            ]}
            current={tab}
            onChange={setTab}
          >
            {tab === "inForce" ? (
              <InForce configuration={value} />
            ) : value.file === null ? (
              <div class="empty">
                <p>
                  This is the embedded demo, which has no file. Write a <code>config.json</code> and start the gateway in its folder: then
                  it can be changed here.
                </p>
              </div>
            ) : (
              <FileEditor key={value.file} configuration={value} onWritten={refresh} />
            )}
          </Tabs>
        </>
      )}
    </ScreenFrame>
  );
}

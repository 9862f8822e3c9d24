import { counted } from "../../format.ts";
import type { PlacedFault } from "./file.ts";

export interface FaultsProps {
  readonly id: string;
  readonly faults: readonly PlacedFault[];
  readonly onGo: (fault: PlacedFault) => void;
}

/** Lists what is wrong with the text; each leads to its place. */
export const Faults = ({ id, faults, onGo }: FaultsProps) => (
  <div role="status">
    {faults.length > 0 && (
      <section class="note bad" id={id} aria-label="Faults">
        <strong>{counted(faults.length, "fault")}</strong>
        <ul class="list">
          {faults.map((fault) => (
            <li key={`${fault.line} ${fault.column} ${fault.path} ${fault.message}`}>
              <button type="button" class="place" onClick={() => onGo(fault)}>
                Line {fault.line}, column {fault.column}
              </button>{" "}
              {fault.path !== "" && <code>{fault.path}</code>} {fault.message}
            </li>
          ))}
        </ul>
      </section>
    )}
  </div>
);

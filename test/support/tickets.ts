import type { Ticket } from "../../src/shared/members.ts";

/** Writes a ticket as text, for a program's arguments. */
export const ticketText = ({ worker, generation, seed }: Ticket): string => `${worker}:${generation}:${seed}`;

/** Reads what `ticketText` wrote; `null`: that is no ticket. */
export function parseTicket(text: string): Ticket | null {
  const [, worker, generation, seed] = /^(\d{1,3}):(\d{1,5}):(-?\d{1,10})$/.exec(text) ?? [];
  return worker === undefined ? null : { worker: Number(worker), generation: Number(generation), seed: Number(seed) };
}

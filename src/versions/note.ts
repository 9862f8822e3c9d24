import { Type } from "@sinclair/typebox";

/** The longest note, in characters. */
const LONGEST = 500;

/** The field in a body that says why a change is made. */
export const Note = Type.Optional(
  Type.String({ maxLength: LONGEST, description: "Why, for whoever looks later.", examples: ["black friday"] }),
);

/** The header that says it where the body is a record. */
export const NOTE_HEADER = "x-sluice-note";

/**
 * Gives the note in a header, cut to 500 characters; `null`: there is none. Headers hold ASCII alone, so that other letters are percent-encoded
 * (`encodeURIComponent`).
 */
export function noteIn(header: string | null): string | null {
  if (header === null) return null;
  const text = decoded(header).trim();
  return text === "" ? null : text.slice(0, LONGEST);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    // A plain "50% more".
    return text;
  }
}

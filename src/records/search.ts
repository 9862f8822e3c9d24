import { Type } from "@sinclair/typebox";
import type { Condition } from "./listing.ts";

/** The most characters that may be searched for. */
const LONGEST = 128;
/** The most letters beyond ASCII of which both cases are tried in all combinations. */
const MAX_VARIED = 4;

/** Gives the schema of `?search=`. `of`: what is looked through, as a part of a sentence. */
export const SearchParameter = (of: string) =>
  Type.Optional(
    Type.String({
      maxLength: LONGEST,
      description: `Only those with this text somewhere in ${of}, in capitals or small letters.`,
    }),
  );

/**
 * Makes small letters of the capitals of ASCII, as SQLite's `lower` does.
 *
 * @example
 * small("Ärzte AG"); // "Ärzte ag"
 */
export const small = (text: string): string => text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());

/**
 * Gives the texts of which one has to stand in a record, once its capitals of ASCII are small. SQLite knows no other capitals: for up to
 * four further letters there is a text for each way to write them, for more the text as it is, in capitals and in small letters.
 */
export function formsOf(search: string): string[] {
  const ways = [...small(search)].map((letter) => (letter > "\u007f" ? othersOf(letter) : [letter]));
  if (ways.filter(({ length }) => length > 1).length > MAX_VARIED)
    return [...new Set([search, search.toUpperCase(), search.toLowerCase()].map(small))];
  return ways.reduce<string[]>((forms, letters) => forms.flatMap((form) => letters.map((letter) => form + letter)), [""]);
}

/** Tells whether one of these forms stands in one of these texts. */
export const isFound = (forms: readonly string[], texts: readonly (string | null)[]): boolean =>
  texts.some((text) => text !== null && forms.some((form) => small(text).includes(form)));

/** Gives the condition that one of these forms stands in one of these columns. `LIKE` would take seven times as long. */
export const isFoundIn = (columns: readonly string[], forms: readonly string[]): Condition => ({
  sql: `(${columns.flatMap((column) => forms.map(() => `instr(lower(${column}), ?) > 0`)).join(" OR ")})`,
  values: columns.flatMap(() => forms),
});

/** Gives a letter in both cases, where it has two of one letter each. */
const othersOf = (letter: string): string[] => [
  ...new Set([letter, letter.toLowerCase(), letter.toUpperCase()].filter((each) => [...each].length === 1)),
];

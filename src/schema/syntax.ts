import { type ParseError, printParseErrorCode } from "jsonc-parser";

const SYNTAX: Readonly<Record<string, string>> = {
  InvalidSymbol: "this is not JSON: text needs double quotes",
  PropertyNameExpected: "a field's name in double quotes is expected here",
  ValueExpected: "a value is expected here",
  ColonExpected: "a colon is expected here",
  CommaExpected: "a comma is expected here",
  CloseBraceExpected: "a } is missing",
  CloseBracketExpected: "a ] is missing",
  EndOfFileExpected: "the file ends before this; nothing may follow it",
  UnexpectedEndOfString: "this text has no closing quote",
};

/** Tells people what is wrong with the syntax of a JSON text. */
export const syntaxFault = (error: ParseError): string => {
  const code = printParseErrorCode(error.error);
  return SYNTAX[code] ?? `this is not JSON (${code})`;
};

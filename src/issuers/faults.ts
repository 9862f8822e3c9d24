/** Says why a token does not tell who calls. */
export interface TokenFault {
  readonly code: "tokenInvalid" | "tokenExpired" | "issuerUnknown" | "issuerUnavailable";
  /** For the caller and for `error_description` (RFC 6750): what is wrong, without quotes and backslashes. */
  readonly says: string;
  /** For `explain`: the same, and what was found. */
  readonly why: string;
  /** True when the token may be a guess, which the guard counts. */
  readonly isGuess: boolean;
  /** True when the token is proven, so that it is known whose it is; left out: it is not. */
  readonly isKnown?: boolean;
}

export const isFault = (value: object): value is TokenFault => "isGuess" in value;

/** Makes the fault of a token that its issuer has signed and that is not good here. */
export const invalid = (says: string, why = says): TokenFault => ({ code: "tokenInvalid", says, why, isGuess: false });

export const MALFORMED: TokenFault = {
  code: "tokenInvalid",
  says: "The token is malformed: it is cut off, mistyped, or too large",
  why: "its parts are no base64url, its header or claims are no JSON objects, or it is too large",
  isGuess: true,
};

export const WRONG_SIGNATURE: TokenFault = {
  code: "tokenInvalid",
  says: "The signature of the token is wrong",
  why: "the token was changed, or somebody else has signed it",
  isGuess: true,
};

export const UNKNOWN_ISSUER: TokenFault = {
  code: "issuerUnknown",
  says: "The issuer of the token is not known here",
  why: "no issuer has this iss",
  isGuess: true,
};

/** Makes the fault of a token that can't be judged for now. */
export const unjudged = (why: string): TokenFault => ({
  code: "issuerUnavailable",
  says: "The token can not be checked at the moment, since its issuer does not answer",
  why,
  isGuess: false,
});

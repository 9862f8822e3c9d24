/** What the names of header fields have in them whose values are credentials. A regular expression, in whatever case. */
export const CREDENTIAL_NAMES = "auth|cookie|token|secret|password|key|credential";

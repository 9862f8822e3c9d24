/** Tells whether a request with this method only looks. */
export const isLook = (method: string): boolean => method === "GET" || method === "HEAD";

/** RFC 9110 §9.2.1, without TRACE, which is refused before anything is asked of a method. */
const SAFE: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS"]);
/** RFC 9110 §9.2.2. */
const IDEMPOTENT: ReadonlySet<string> = new Set([...SAFE, "PUT", "DELETE"]);

/** Tells whether a request with this method changes nothing. Methods that nobody knows are taken to change something (RFC 9111 §4.4). */
export const isSafe = (method: string): boolean => SAFE.has(method);

/** Tells whether a request with this method may be sent again, whatever became of it: twice has the effect of once. */
export const isIdempotent = (method: string): boolean => IDEMPOTENT.has(method);

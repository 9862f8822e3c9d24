// Seconds, counted by a coarse tick, since none of these bounds needs to be exact. They hold for all versions of HTTP.

/** How long a connection may be open without a request. */
export const KEEP_ALIVE_FOR = 75;
/** How long a request's head may take. */
export const HEAD_WITHIN = 15;
/** How long a body may bring nothing while it is waited for. */
export const BODY_STALLS_AFTER = 60;
/** How long a client may read nothing of an answer that waits for it. */
export const REPLY_STALLS_AFTER = 120;

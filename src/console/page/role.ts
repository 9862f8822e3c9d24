/** The roles of who is signed in, the least first: a viewer looks, an operator runs, an admin changes. */
export const ROLES = ["viewer", "operator", "admin"] as const;
export type Role = (typeof ROLES)[number];

/** Tells whether a role may do what takes at least `needed`. */
export const isAtLeast = (role: Role, needed: Role): boolean => ROLES.indexOf(role) >= ROLES.indexOf(needed);

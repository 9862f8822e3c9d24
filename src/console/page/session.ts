import { computed, signal } from "@preact/signals";
import { get, noteSignIn, onSignedOut, Problem, send } from "./api.ts";
import { isAtLeast, type Role } from "./role.ts";

/** Tells who is signed in. */
export interface Me {
  readonly name: string;
  readonly role: Role;
  readonly via: "session" | "token";
  readonly expiresAt: string | null;
  /** Of Sluice. */
  readonly version: string;
}

/** Tells how somebody may sign in. */
export interface SignInOptions {
  readonly issuer: { readonly name: string; readonly start: string } | null;
  readonly firstRun: boolean;
}

/** Who is signed in: `undefined` while nobody has asked yet, `null` for nobody. */
export const me = signal<Me | null | undefined>(undefined);
/** True when a session was there and has ended by itself. */
export const hasExpired = signal(false);

/** The role of who is signed in; a viewer's while nobody is. */
export const role = computed<Role>(() => me.value?.role ?? "viewer");

/** Tells whether who is signed in may do what takes this role. */
export const may = (needed: Role): boolean => isAtLeast(role.value, needed);

/** Says why an act is not offered; `null` when it is. */
export const whyNot = (needed: Role): string | null =>
  may(needed) ? null : `Your token is a ${role.value}'s. This takes the role ${needed}.`;

onSignedOut.call = () => {
  if (me.value) hasExpired.value = true;
  me.value = null;
};

/** Finds out who is signed in. Rejects with a `Problem` when that can't be found out. */
export async function whoAmI(): Promise<void> {
  try {
    me.value = await get<Me>("session");
  } catch (error) {
    if (!(error instanceof Problem) || error.status !== 401) throw error;
    me.value = null;
  }
}

/** Signs in by an admin token, or by the secret of the link that the first start prints. Rejects with a `Problem`. */
export async function signIn(by: { readonly token: string } | { readonly link: string }): Promise<void> {
  await send("POST", "session", { body: by });
  noteSignIn();
  hasExpired.value = false;
  await whoAmI();
}

/** Ends the session. */
export async function signOut(): Promise<void> {
  await send("DELETE", "session");
  hasExpired.value = false;
  me.value = null;
}

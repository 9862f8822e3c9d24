import { useEffect, useRef, useState } from "preact/hooks";
import { get, type Problem, problemOf } from "./api.ts";
import { ErrorNote } from "./parts/error-note.tsx";
import { hasExpired, type SignInOptions, signIn } from "./session.ts";

const NO_OPTIONS: SignInOptions = { issuer: null, firstRun: false };

/** Asks who somebody is. `linkProblem`: why the link by which they came did not sign them in. */
export function SignIn({ linkProblem }: { readonly linkProblem: Problem | null }) {
  const [options, setOptions] = useState(NO_OPTIONS);
  useEffect(() => {
    document.title = "Sign in · Sluice";
    // Without them there is still the token.
    get<SignInOptions>("session/options").then(setOptions, () => {});
  }, []);
  return (
    <main class="sign-in">
      <h1>
        <img src="/console/icon.svg" alt="" width="36" height="36" /> Sluice
      </h1>
      {hasExpired.value && (
        <p class="note" role="status">
          Your session has ended. Sign in to go on where you were.
        </p>
      )}
      {linkProblem !== null && <ErrorNote problem={linkProblem} />}
      <TokenForm />
      {options.issuer !== null && (
        <>
          <p class="or">or</p>
          <a class="button" href={options.issuer.start}>
            Sign in with {options.issuer.name}
          </a>
        </>
      )}
      {options.firstRun && (
        <p class="fine">Nobody has signed in yet: the gateway has printed a link when it started, which signs you in without a token.</p>
      )}
      <details>
        <summary>Where is my token?</summary>
        <p>
          Sluice prints a token at its first start, unless <code>SLUICE_ADMIN_TOKEN</code> is set: then it is that one. Whoever has access
          to the machine can make a new one:
        </p>
        <pre>
          <code>sluice reset-token</code>
        </pre>
      </details>
    </main>
  );
}

function TokenForm() {
  const [token, setToken] = useState("");
  const [problem, setProblem] = useState<Problem | null>(null);
  const [isBusy, setBusy] = useState(false);
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => input.current?.focus(), []);
  const send = async (): Promise<void> => {
    setBusy(true);
    setProblem(null);
    try {
      await signIn({ token: token.trim() });
    } catch (error) {
      setProblem(problemOf(error));
      setBusy(false);
      input.current?.focus();
    }
  };
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (!isBusy) void send();
      }}
    >
      <div class="field">
        <label for="token">Admin token</label>
        <input
          id="token"
          ref={input}
          type="password"
          autocomplete="current-password"
          required
          value={token}
          aria-invalid={problem !== null}
          onInput={(event) => setToken(event.currentTarget.value)}
        />
      </div>
      {problem !== null && <ErrorNote problem={problem} />}
      <button type="submit" class="primary" disabled={isBusy}>
        Sign in
      </button>
    </form>
  );
}

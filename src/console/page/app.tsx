import { useEffect, useState } from "preact/hooks";
import { type Problem, problemOf } from "./api.ts";
import { ErrorNote } from "./parts/error-note.tsx";
import { go, hrefTo } from "./router.ts";
import { me, signIn, whoAmI } from "./session.ts";
import { Shell } from "./shell.tsx";
import { SignIn } from "./sign-in.tsx";

/** Milliseconds between two tries to find out who is signed in. */
const AGAIN_AFTER = 2000;

/** Takes the secret of the link that the first start prints out of the address, so that it is in no history; `null`: there is none. */
function takeLink(): string | null {
  const link = /^#start=(.+)$/.exec(location.hash)?.[1] ?? null;
  if (link !== null) history.replaceState(null, "", location.pathname + location.search);
  return link;
}

/** Shows the sign-in, or the screens to who is signed in. */
export function App() {
  const [problem, setProblem] = useState<Problem | null>(null);
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const link = takeLink();
    const begin = async (): Promise<void> => {
      try {
        await whoAmI();
        setProblem(null);
      } catch (error) {
        setProblem(problemOf(error));
        timer = setTimeout(begin, AGAIN_AFTER);
      }
    };
    const beginByLink = async (secret: string): Promise<void> => {
      try {
        await signIn({ link: secret });
        go(hrefTo(["start"]));
      } catch (error) {
        await begin();
        setProblem(problemOf(error));
      }
    };
    void (link === null ? begin() : beginByLink(link));
    return () => clearTimeout(timer);
  }, []);
  if (me.value) return <Shell me={me.value} />;
  if (me.value === null) return <SignIn linkProblem={problem} />;
  return <main class="sign-in">{problem === null ? <p class="fine">Loading…</p> : <ErrorNote problem={problem} />}</main>;
}

import { useEffect, useErrorBoundary, useState } from "preact/hooks";
import { isUnreachable, problemOf } from "./api.ts";
import { Badge } from "./parts/badge.tsx";
import { ErrorNote } from "./parts/error-note.tsx";
import { Icon } from "./parts/icon.tsx";
import { ScreenFrame } from "./parts/screen.tsx";
import { say, Toasts } from "./parts/toast.tsx";
import { findDeclaredBy } from "./records/declared-by.ts";
import { hrefTo, place, visits } from "./router.ts";
import { SCREENS, type Screen, type ScreenProps } from "./screens/index.ts";
import { type Me, signOut, whoAmI } from "./session.ts";

/** Milliseconds between two looks whether the session is still there, and whether the gateway answers. */
const LOOK_EVERY = 30_000;
const LOOK_WHILE_AWAY_EVERY = 2000;

/** Finds the screen at a place; `undefined`: there is none. */
const screenAt = ([first = ""]: readonly string[]): Screen | undefined => SCREENS.find(({ path }) => path === first);

/** Frames the screens: navigation, who is signed in, messages. */
export function Shell({ me }: { readonly me: Me }) {
  useLooks();
  useEffect(() => {
    // What it can't find out is shown elsewhere.
    findDeclaredBy().catch(() => {});
  }, []);
  const { parts, query } = place.value;
  const screen = screenAt(parts);
  return (
    <div class="shell">
      <a class="skip" href="#main">
        Skip to the content
      </a>
      <Bar me={me} current={screen} />
      {isUnreachable.value && (
        <p class="away" role="alert">
          <Icon name="warning" /> The gateway does not answer. What you see is what it said last; it is asked again by itself.
        </p>
      )}
      <main id="main" tabIndex={-1}>
        {screen === undefined ? <NoScreen /> : <Guarded key={screen.path} screen={screen} rest={parts.slice(1)} query={query} />}
      </main>
      <Toasts />
    </div>
  );
}

/** Shows a screen, or why it can't be shown: a fault of one must not take the others with it. */
function Guarded({ screen, ...props }: ScreenProps & { readonly screen: Screen }) {
  const [error, again] = useErrorBoundary((thrown) => console.error(thrown));
  if (error === undefined) return <screen.component {...props} />;
  return (
    <ScreenFrame title={screen.name}>
      <ErrorNote problem={problemOf(error)} onRetry={again} />
    </ScreenFrame>
  );
}

/** Looks from time to time whether the session is still there. */
function useLooks(): void {
  const every = isUnreachable.value ? LOOK_WHILE_AWAY_EVERY : LOOK_EVERY;
  useEffect(() => {
    const timer = setInterval(() => {
      // What it can't find out is shown elsewhere.
      if (!document.hidden || isUnreachable.peek()) whoAmI().catch(() => {});
    }, every);
    return () => clearInterval(timer);
  }, [every]);
}

function Bar({ me, current }: { readonly me: Me; readonly current: Screen | undefined }) {
  const [isOpen, setOpen] = useState(false);
  const visit = visits.value;
  // Whoever goes somewhere closes the menu.
  useEffect(() => setOpen(false), [visit]);
  return (
    <header class="bar">
      <div class="brand">
        <img src="/console/icon.svg" alt="" width="24" height="24" />
        <span>Sluice</span>
        <button type="button" class="menu" aria-expanded={isOpen} aria-controls="nav" onClick={() => setOpen(!isOpen)}>
          <Icon name={isOpen ? "stop" : "menu"} /> Menu
        </button>
      </div>
      <div id="nav" class={isOpen ? "drawer open" : "drawer"}>
        <nav aria-label="Console">
          <ul>
            {SCREENS.filter(({ isHidden = false }) => !isHidden).map((screen) => (
              <li key={screen.path}>
                <a href={hrefTo([screen.path])} aria-current={screen === current ? "page" : undefined}>
                  <Icon name={screen.icon} />
                  {screen.name}
                </a>
              </li>
            ))}
          </ul>
        </nav>
        <Who me={me} />
      </div>
    </header>
  );
}

const Who = ({ me: { name, role, version } }: { readonly me: Me }) => (
  <div class="who">
    <p>
      {name} <Badge>{role}</Badge>
    </p>
    <button type="button" class="quiet" onClick={() => signOut().catch((error: unknown) => say(problemOf(error).message, "bad"))}>
      Sign out
    </button>
    <p class="fine">
      <a href="/docs">Documentation</a> · <a href="/swagger">API</a> · {version}
    </p>
  </div>
);

const NoScreen = () => (
  <ScreenFrame title="There is nothing here">
    <p>
      The console has no such page. <a href={hrefTo([])}>Go to Now</a>
    </p>
  </ScreenFrame>
);

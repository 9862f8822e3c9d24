import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { visits } from "../router.ts";

export interface ScreenFrameProps {
  readonly title: string;
  /** One sentence: what is seen and done here. */
  readonly intro?: ComponentChildren;
  /** Buttons beside the title. */
  readonly acts?: ComponentChildren;
  readonly children: ComponentChildren;
}

/** How many visits have been shown: on the first the browser puts the focus where it should be. */
const shown = { visit: 0 };

/** Frames a screen: its title is the page's, and takes the focus when somebody comes here. */
export function ScreenFrame({ title, intro, acts, children }: ScreenFrameProps) {
  const heading = useRef<HTMLHeadingElement>(null);
  const visit = visits.value;
  useEffect(() => {
    document.title = `${title} · Sluice`;
  }, [title]);
  useEffect(() => {
    if (shown.visit === visit) return;
    shown.visit = visit;
    heading.current?.focus();
    scrollTo(0, 0);
  }, [visit]);
  return (
    <article class="screen">
      <header class="screen-head">
        <div>
          <h1 ref={heading} tabIndex={-1}>
            {title}
          </h1>
          {intro !== undefined && <p class="intro">{intro}</p>}
        </div>
        {acts !== undefined && <div class="acts">{acts}</div>}
      </header>
      {children}
    </article>
  );
}

/** Frames a part of a screen. */
export const Panel = ({
  title,
  acts,
  children,
}: {
  readonly title: string;
  readonly acts?: ComponentChildren;
  readonly children: ComponentChildren;
}) => (
  <section class="panel">
    <header>
      <h2>{title}</h2>
      {acts}
    </header>
    {children}
  </section>
);

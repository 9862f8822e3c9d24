/** Outlines of 24 by 24, drawn for this console. */
const PATHS = {
  now: "M3 12h4l3-8 4 16 3-8h4",
  why: "M9 9a3 3 0 1 1 4.500 2.600c-1 .6-1.500 1.200-1.500 2.400M12 17.500v.01M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z",
  consumers: "M14.500 9.500a4 4 0 1 1-1.200-2.800M13 10l8 8M18 15l-2 2M21 18l-2 2",
  routes: "M6 4v10a4 4 0 0 0 4 4h8M6 8a4 4 0 0 0 4 0h8M15 5l3 3-3 3M15 15l3 3-3 3",
  limits: "M4 18a9 9 0 1 1 16 0M12 15l4-5",
  pools: "M5 6c0-4 14-4 14 0s-14 4-14 0zM5 6v12c0 4 14 4 14 0V6M5 12c0 4 14 4 14 0",
  models: "M8 4h8a4 4 0 0 1 4 4v5a4 4 0 0 1-4 4h-3l-5 4v-4a4 4 0 0 1-4-4V8a4 4 0 0 1 4-4zM9 10h.01M12 10h.01M15 10h.01",
  activities: "M4 5h16v5H4zM4 14h16v5H4zM8 7.500h.01M8 16.500h.01",
  events: "M4 6h16M4 12h10M4 18h13",
  audit: "M7 3h10v18l-5-3-5 3zM10 8h4M10 12h4",
  versions: "M4 5v5h5M4.500 10A8 8 0 1 1 4 14M12 8v5l3 2",
  configuration: "M9 4c-3 0-2 3-2 5s-1 3-3 3c2 0 3 1 3 3s-1 5 2 5M15 4c3 0 2 3 2 5s1 3 3 3c-2 0-3 1-3 3s1 5-2 5",
  certificates: "M12 3l7 3v6c0 4-3 7-7 9-4-2-7-5-7-9V6zM9 12l2 2 4-4",
  webhooks: "M4 12h12M12 7l5 5-5 5M20 5v14",
  menu: "M4 7h16M4 12h16M4 17h16",
  search: "M11 5a6 6 0 1 0 0 12 6 6 0 0 0 0-12zM20 20l-4.700-4.700",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  check: "M5 13l4 4 10-10",
  stop: "M6 6l12 12M18 6L6 18",
  warning: "M12 4l9 16H3zM12 10v4M12 17v.01",
  up: "M6 14l6-6 6 6",
  down: "M6 10l6 6 6-6",
  right: "M10 6l6 6-6 6",
} as const;

export type IconName = keyof typeof PATHS;

/** Draws an icon as large as the text around it. It says nothing to a screen reader: a word beside it does. */
export const Icon = ({ name }: { readonly name: IconName }) => (
  <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
    <path d={PATHS[name]} />
  </svg>
);

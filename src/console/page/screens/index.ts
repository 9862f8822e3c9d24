import type { ComponentType } from "preact";
import type { IconName } from "../parts/icon.tsx";
import { Activities } from "./activities.tsx";
import { AuditScreen } from "./audit/index.tsx";
import { Certificates } from "./certificates.tsx";
import { ConfigurationScreen } from "./configuration/index.tsx";
import { Consumers } from "./consumers/index.tsx";
import { EventsScreen } from "./events/index.tsx";
import { Limits } from "./limits/index.tsx";
import { Models } from "./models/index.tsx";
import { Now } from "./now/index.tsx";
import { Pools } from "./pools/index.tsx";
import { Routes } from "./routes/index.tsx";
import { Secret } from "./secret.tsx";
import { Start } from "./start/index.tsx";
import { Versions } from "./versions/index.tsx";
import { Webhooks } from "./webhooks/index.tsx";
import { Why } from "./why/index.tsx";

/** What a screen is told of the place that is shown. */
export interface ScreenProps {
  /** The parts of the path behind the screen's own. */
  readonly rest: readonly string[];
  readonly query: URLSearchParams;
}

/** Describes a screen of the console. */
export interface Screen {
  /** The first part of its path below /console; empty for the one at /console itself. */
  readonly path: string;
  /** The word of its link. */
  readonly name: string;
  readonly icon: IconName;
  readonly component: ComponentType<ScreenProps>;
  /** True for one that no link in the navigation leads to. */
  readonly isHidden?: boolean;
}

/** The screens, in the order of their links: Now, Why, Consumers and keys, Routes and upstreams, Limits and tiers, Pools, Models and tools, Activities, Events, Audit, Versions, Configuration, Certificates, Webhooks. */
export const SCREENS: readonly Screen[] = [
  { path: "", name: "Now", icon: "now", component: Now },
  { path: "why", name: "Why", icon: "why", component: Why },
  { path: "start", name: "Set up", icon: "right", component: Start, isHidden: true },
  { path: "secret", name: "A secret for you", icon: "consumers", component: Secret, isHidden: true },
  { path: "consumers", name: "Consumers and keys", icon: "consumers", component: Consumers },
  { path: "routes", name: "Routes and upstreams", icon: "routes", component: Routes },
  { path: "limits", name: "Limits and tiers", icon: "limits", component: Limits },
  { path: "pools", name: "Pools", icon: "pools", component: Pools },
  { path: "models", name: "Models and tools", icon: "models", component: Models },
  { path: "activities", name: "Activities", icon: "activities", component: Activities },
  { path: "events", name: "Events", icon: "events", component: EventsScreen },
  { path: "audit", name: "Audit", icon: "audit", component: AuditScreen },
  { path: "versions", name: "Versions", icon: "versions", component: Versions },
  { path: "configuration", name: "Configuration", icon: "configuration", component: ConfigurationScreen },
  { path: "certificates", name: "Certificates", icon: "certificates", component: Certificates },
  { path: "webhooks", name: "Webhooks", icon: "webhooks", component: Webhooks },
];

import { type Static, Type } from "@sinclair/typebox";
import { activitiesSection } from "../activities/settings.ts";
import { auditSection } from "../audit/settings.ts";
import { backupSection } from "../backups/settings.ts";
import { cacheSection } from "../cache/settings.ts";
import { consumersSection } from "../consumers/settings.ts";
import { demoSection } from "../demo/settings.ts";
import { guardSection } from "../guard/settings.ts";
import { healthSection, readySection } from "../health/settings.ts";
import { problemBaseSection, serverSection } from "../http/settings.ts";
import { identitySection } from "../identity/settings.ts";
import { issuersSection } from "../issuers/settings.ts";
import { authzSection } from "../judge/settings.ts";
import { limitsSection } from "../limits/settings.ts";
import { modelsSection } from "../models/settings.ts";
import { pluginsSection } from "../plugins/settings.ts";
import { poolsSection } from "../pools/settings.ts";
import { pricesSection, unpricedSection } from "../prices/settings.ts";
import { redisSection } from "../redis/settings.ts";
import { routesSection } from "../routes/settings.ts";
import { Shape } from "../schema/fields.ts";
import { selfServiceSection } from "../selfservice/settings.ts";
import { storageSection } from "../storage/settings.ts";
import { loggingSection, telemetrySection } from "../telemetry/settings.ts";
import { anonymousTierSection, tiersSection } from "../tiers/settings.ts";
import { upstreamsSection } from "../upstreams/settings.ts";
import { usageSection } from "../usage/settings.ts";
import { keyVerificationSection } from "../verification/settings.ts";
import { webhooksSection } from "../webhooks/settings.ts";
import { adminSection } from "./admin-settings.ts";
import type { Section } from "./section.ts";

const LIST = [
  serverSection,
  adminSection,
  storageSection,
  backupSection,
  redisSection,
  loggingSection,
  telemetrySection,
  identitySection,
  issuersSection,
  guardSection,
  healthSection,
  usageSection,
  auditSection,
  limitsSection,
  cacheSection,
  readySection,
  anonymousTierSection,
  tiersSection,
  upstreamsSection,
  routesSection,
  pluginsSection,
  poolsSection,
  modelsSection,
  pricesSection,
  unpricedSection,
  authzSection,
  keyVerificationSection,
  selfServiceSection,
  activitiesSection,
  webhooksSection,
  consumersSection,
  problemBaseSection,
  demoSection,
] as const;

type Sections = (typeof LIST)[number];

/** All sections, in the order in which the schema and the reference show them: adding one is a line here. */
export const SECTIONS: readonly Section[] = LIST;

/** The schema of the whole file. Its shape is that of the sections, which `Object.fromEntries` can't tell. */
export const Config = Shape(
  {
    $schema: Type.Optional(Type.String({ description: "Where editors find this schema." })),
    ...(Object.fromEntries(LIST.map(({ name, schema }) => [name, schema])) as { [Each in Sections as Each["name"]]: Each["schema"] }),
  },
  "The configuration of Sluice.",
);
export type Config = Static<typeof Config>;

/** Gives the settings of a section. */
export const settingsOf = (config: Config, { name }: Section): unknown => config[name as keyof Config];

import { type Static, Type } from "@sinclair/typebox";
import type { Section } from "../config/section.ts";
import type { Fault, Path } from "../schema/faults.ts";
import { Duration, Shape, Size } from "../schema/fields.ts";
import { timeFaults } from "../schema/rules.ts";
import { parseSize } from "../values/units.ts";

/** The largest `maxBody`, in bytes: each request whose body is read holds as much. */
const MAX_BODY = 67_108_864;

/** The names of options, however deep, that look like credentials. */
const SECRETS = "auth|cookie|token|secret|password|key|credential";

const PluginConfig = Shape(
  {
    file: Type.String({
      minLength: 1,
      maxLength: 1024,
      pattern: "^[^\\u0000?#]*$",
      expects: "a file's path, without ? and #",
      description: "The TypeScript or JavaScript file, relative to the folder of the configuration file.",
      examples: ["./plugins/tenant.ts"],
    }),
    options: Type.Record(Type.String(), Type.Unknown({ secretNames: SECRETS }), {
      default: {},
      description: "What the plug-in's setup gets. What looks like a credential by its name is not shown again.",
      secretNames: SECRETS,
    }),
    timeout: Duration("How long each of its hooks may take; the time in which a body arrives does not count. 1ms to 24h.", {
      default: "1s",
    }),
    onError: Type.Union([Type.Literal("fail"), Type.Literal("skip")], {
      default: "fail",
      description:
        "What becomes of a request when a hook throws, takes too long or gives what means nothing. fail: 500 pluginFailed, since a plug-in may be what protects a backend. skip: as if the plug-in were not there.",
    }),
    maxBody: Size("The largest body that its hooks can read, after decoding. At most 64mb.", { default: "1mb" }),
  },
  "A program of yours that takes part in requests.",
);
export type PluginConfig = Static<typeof PluginConfig>;

/** Makes the schema of a list of plug-ins. */
export const Plugins = (description: string) => Type.Array(PluginConfig, { default: [], maxItems: 64, description });

/** Gives the faults of plug-ins that the schema can't express. Paths begin with `at`. */
export const pluginFaults = (plugins: readonly PluginConfig[], at: Path): Fault[] =>
  plugins.flatMap(({ timeout, maxBody }, i) => [
    ...timeFaults(timeout, [...at, i, "timeout"]),
    ...(parseSize(maxBody) > MAX_BODY ? [{ path: [...at, i, "maxBody"], message: "must be at most 64mb" }] : []),
  ]);

const schema = Plugins("Plug-ins of all routes, in the order in which they are asked.");

export const pluginsSection: Section<"plugins", typeof schema> = {
  name: "plugins",
  schema,
  faults: (plugins) => pluginFaults(plugins, ["plugins"]),
};

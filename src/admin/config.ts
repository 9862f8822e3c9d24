import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { type Config, jsonSchema } from "../config/schema.ts";

/** The configuration in force, for people to look at. */
export interface ConfigView {
  readonly file: string | null;
  readonly config: Config;
}

/** The configuration with every secret masked. */
export const masked = (config: Config): Config => ({
  ...config,
  consumers: config.consumers.map((consumer) => ({ ...consumer, keys: consumer.keys.map(() => "***") })),
});

export const configAdmin = (view: ConfigView) =>
  new Elysia({ prefix: "/config", tags: ["config"], normalize: false })
    .get("/", () => ({ file: view.file, config: masked(view.config) as unknown as Record<string, unknown> }), {
      response: Type.Object({
        file: Type.Union([Type.String(), Type.Null()], { description: "The file it was read from; null for the embedded demo." }),
        config: Type.Record(Type.String(), Type.Unknown(), { description: "With all defaults; secrets are masked." }),
      }),
      detail: { summary: "The configuration in force" },
    })
    .get("/schema", () => jsonSchema() as Record<string, unknown>, { detail: { summary: "The configuration file's JSON Schema" } });

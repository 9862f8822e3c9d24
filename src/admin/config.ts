import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { jsonSchema } from "../config/json-schema.ts";
import type { LiveConfig } from "../config/live.ts";
import { Config } from "../config/schema.ts";
import { timeText } from "../http/conventions.ts";
import { problem } from "../http/problem.ts";
import { Refused } from "../http/refused.ts";
import { faultLines, wireFaults } from "../schema/faults.ts";
import { masked } from "../schema/secrets.ts";

/** Shows the configuration in force, and its file. */
export interface ConfigView {
  readonly live: LiveConfig;
  readonly config: () => Config;
}

const FaultRecord = Type.Object({
  path: Type.String({ description: "The field.", examples: ["routes[0].timeout"] }),
  message: Type.String({ description: "What is wrong with it." }),
  line: Type.Integer({ description: "Its line in the file, from 1." }),
  column: Type.Integer({ description: "Its column in the line, from 1." }),
});

const unusable = (lines: readonly string[], errors: ReturnType<typeof wireFaults>): Refused =>
  new Refused(
    problem(
      "validationFailed",
      `The configuration before stays in force: ${lines[0]}${lines.length > 1 ? `, and ${lines.length - 1} more` : ""}.`,
      { errors },
    ),
  );

export const configAdmin = ({ live, config }: ConfigView) =>
  new Elysia({ prefix: "/config", tags: ["config"], normalize: false })
    .get(
      "/",
      () => ({
        file: live.file,
        loadedAt: timeText(live.status.loadedAt) ?? "",
        faults: wireFaults(live.status.faults),
        config: masked(Config, config()) as Record<string, unknown>,
      }),
      {
        response: Type.Object({
          file: Type.Union([Type.String(), Type.Null()], { description: "The file it was read from; null for the embedded demo." }),
          loadedAt: Type.String({ description: "When it was read, RFC 3339." }),
          faults: Type.Array(FaultRecord, { description: "What is wrong with the file as it is now: with these it is not in force." }),
          config: Type.Record(Type.String(), Type.Unknown(), { description: "With all defaults; secrets are masked." }),
        }),
        detail: { summary: "The configuration in force" },
      },
    )
    .post(
      "/reload",
      async () => {
        const faults = await live.reload("admin");
        if (faults.length > 0) throw unusable(faultLines(live.file, faults), wireFaults(faults));
        return { file: live.file ?? "", loadedAt: timeText(live.status.loadedAt) ?? "" };
      },
      {
        response: Type.Object({
          file: Type.String({ description: "The file that was read." }),
          loadedAt: Type.String({ description: "Now, RFC 3339." }),
        }),
        detail: {
          summary: "Reload the configuration file",
          description:
            "Puts it in force as a whole, or answers 422 with every fault, its line and column; then the one before stays in force.",
        },
      },
    )
    .get("/schema", () => jsonSchema() as Record<string, unknown>, {
      detail: {
        summary: "The configuration file's JSON Schema",
        responses: { 200: { description: "OK", content: { "application/json": { schema: { type: "object" } } } } },
      },
    });

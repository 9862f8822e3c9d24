import { readFileSync } from "node:fs";
import type { BunPlugin } from "bun";

const LIBRARY = "src/activities/kafka/library.ts";

/** Gives the lines of an index that export some of its modules. */
const only =
  (modules: RegExp) =>
  (path: string): string =>
    readFileSync(path, "utf8")
      .split("\n")
      .filter((line) => modules.test(line))
      .join("\n");
const always = (contents: string) => (): string => contents;

/** Modules of the client of Kafka that read other files, or bring along what Sluice never asks of it; and what stands in their place. */
const INSTEAD: readonly (readonly [file: RegExp, contents: (path: string) => string])[] = [
  // The same WebAssembly, as text within the module: in one file there is no other file to read it from.
  [/\/wasm-utils\/dist\/index\.js$/, always('export * from "./bundled.js";')],
  // It would look for an addon where the program is started.
  [/\/kafka\/dist\/protocol\/crc32c\.js$/, always('export { crc32c } from "@platformatic/wasm-utils";')],
  // It brings Avro, Protocol Buffers and all drafts of JSON Schema.
  [/\/kafka\/dist\/registries\/confluent-schema-registry\.js$/, always("export class ConfluentSchemaRegistry {}")],
  // Options are checked by types and tests. To compile these checks takes most of the time that it takes to import the client.
  [
    /\/ajv\/dist\/2020\.js$/,
    always("export class Ajv2020 { addKeyword() { return this; } compile() { return () => true; } errorsText() { return ''; } }"),
  ],
  [/\/kafka\/dist\/clients\/admin\/index\.js$/, always("")],
  [/\/kafka\/dist\/apis\/admin\/index\.js$/, only(/create-topics-v/)],
  [/\/kafka\/dist\/apis\/telemetry\/index\.js$/, always("")],
];

/** Packages that the client of Kafka needs and the binary does not have, for what stands in their place. */
export const LEFT_OUT: readonly string[] = ["ajv", "ajv-draft-04", "avsc"];

/** Leaves out of the client of Kafka what Sluice never asks of it. */
const less: BunPlugin = {
  name: "less-of-kafka",
  setup(build) {
    for (const [filter, contents] of INSTEAD) build.onLoad({ filter }, ({ path }) => ({ contents: contents(path), loader: "js" }));
  },
};

/**
 * Makes what lets a build hold the client of Kafka (`@platformatic/kafka`): as a file within the binary, which is read when Kafka is wanted.
 * Built in like other modules it would take 1.5 MB, since they keep their names, maps and bytecode. Throws when it can't be built.
 */
export async function kafkaPlugin(): Promise<BunPlugin> {
  const { outputs } = await Bun.build({ entrypoints: [LIBRARY], target: "bun", format: "esm", minify: true, plugins: [less] });
  const text = await outputs[0]?.text();
  if (text === undefined) throw new Error(`${LIBRARY} was not built`);
  const module = `import file from "kafka-client.mjs" with { type: "file" };
export const kafkaLibrary = () => import(file);`;
  return {
    name: "kafka",
    setup(build) {
      build.onLoad({ filter: /\/activities\/kafka\/load\.ts$/ }, () => ({ contents: module, loader: "js" }));
      build.onResolve({ filter: /^kafka-client\.mjs$/ }, ({ path }) => ({ path, namespace: "kafka" }));
      build.onLoad({ filter: /.*/, namespace: "kafka" }, () => ({ contents: text, loader: "file" }));
    },
  };
}

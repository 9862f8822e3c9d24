// Applies portions of activities to PostgreSQL as a follower does, to be ended in the middle. Arguments: a JSON file with { url, schema,
// portions }, and a file in which it notes how many portions are done. Prints "done" at the end.
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { PostgresSink } from "../../src/activities/sinks/postgres.ts";
import { SinkAway } from "../../src/activities/sinks/sink.ts";
import { delivered, parsed, runsOf } from "./runs.ts";

const [input = "", cursor = ""] = Bun.argv.slice(2);
const { url, schema, portions } = JSON.parse(readFileSync(input, "utf8")) as { url: string; schema: string; portions: object[][] };
const sink = new PostgresSink({ url, schema, ca: null }, { keepsLog: true });
let next = existsSync(cursor) ? Number(readFileSync(cursor, "utf8")) : 0;
while (next < portions.length) {
  try {
    await sink.apply(
      runsOf(parsed(portions[next] as object[]), (index) => `${String(next).padStart(4, "0")}:${String(index).padStart(4, "0")}`),
      delivered(),
    );
  } catch (error) {
    if (!(error instanceof SinkAway)) throw error;
    await Bun.sleep(20);
    continue;
  }
  next++;
  writeFileSync(`${cursor}.new`, String(next));
  renameSync(`${cursor}.new`, cursor);
}
await sink.close();
console.log("done");

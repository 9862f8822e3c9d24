// Puts an activity into a queue in Kafka and takes it out again: a program to be compiled. Its configuration is its argument.
import { parseActivity } from "../../src/activities/activity.ts";
import { KafkaQueue } from "../../src/activities/queues/kafka.ts";

const payload = '{"operation":"insert","table":"t","colNames":["n"],"colTypes":["INTEGER"],"colValues":[1]}';
const activity = parseActivity(payload);
if ("faults" in activity) throw new Error(JSON.stringify(activity.faults));
const queue = new KafkaQueue({
  config: JSON.parse(Bun.argv[2] ?? "{}"),
  keepFor: null,
  onArrival: () => {},
  onChange: () => {},
  onStrange: (why) => console.error(why),
});
const feed = queue.feed("sqlite");
await queue.put([{ batch: "b", body: "", activities: [activity], key: null, replay: null }], Date.now());
for (;;) {
  const portion = await feed.lease(10, Date.now());
  if (portion === null) {
    await Bun.sleep(20);
    continue;
  }
  await feed.done(portion, Date.now());
  console.log(portion.deliveries.map(({ id, activity }) => `${id} ${JSON.stringify(activity.payload)}`).join("\n"));
  break;
}
await queue.close();

// Follows a sink's feed as another instance does, and prints the id of each activity once it is applied. Its configuration is its argument.
import { KafkaQueue } from "../../src/activities/queues/kafka.ts";

const { config, sink, delay } = JSON.parse(Bun.argv[2] ?? "{}");
const queue = new KafkaQueue({ config, keepFor: null, onArrival: () => {}, onChange: () => {}, onStrange: (why) => console.error(why) });
const feed = queue.feed(sink);
for (;;) {
  const portion = await feed.lease(100, Date.now());
  if (portion === null) {
    await Bun.sleep(10);
    continue;
  }
  await Bun.sleep(delay);
  process.stdout.write(`${portion.deliveries.map(({ id }) => id).join("\n")}\n`);
  await Promise.resolve(feed.done(portion, Date.now())).catch((error) => console.error(error.message));
}

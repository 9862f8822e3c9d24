// What Sluice takes of the client of Kafka: the binary holds no more of it (scripts/kafka-plugin.ts). Imported when Kafka is wanted.
export { ConnectionPool, Consumer, kGetApi, kGetConnection, murmur2, Producer } from "@platformatic/kafka";

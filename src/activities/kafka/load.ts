export type Library = typeof import("./library.ts");

/** Loads the client of Kafka, which takes some tenths of a second the first time: whoever has no Kafka never loads it. A build has it elsewhere (scripts/kafka-plugin.ts). */
export const kafkaLibrary = (): Promise<Library> => import("./library.ts");

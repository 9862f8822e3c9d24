import demoConfig from "../../config.json";

/** Keys of the embedded demo, which stand in the documentation: anybody knows them. */
export const PUBLIC_KEYS: ReadonlySet<string> = new Set(demoConfig.consumers.flatMap(({ keys }) => keys));

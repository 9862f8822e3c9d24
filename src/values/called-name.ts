/** The most characters that are told of the name of a model or a tool: callers may send any. */
export const MAX_CALLED_NAME = 256;
/** Stands for further models and tools where those that are told apart must be few. */
export const OTHER = "other";

/** The shortest time between two load jobs, in milliseconds: BigQuery takes 1,500 a day for a table. */
export const MIN_EVERY = 60_000;

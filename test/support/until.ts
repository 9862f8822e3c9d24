/** Waits until something holds. Throws when it does not within so many milliseconds. */
export async function until(holds: () => boolean | Promise<boolean>, within = 30_000): Promise<void> {
  const end = performance.now() + within;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`this never came: ${holds}`);
    await Bun.sleep(10);
  }
}

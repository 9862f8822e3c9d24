/** Gives the host of a Host field without its port, in lower case. */
export function hostName(host: string): string {
  const colon = host.indexOf(":", host.startsWith("[") ? host.indexOf("]") : 0);
  const name = (colon < 0 ? host : host.slice(0, colon)).toLowerCase();
  // `a.test.` is the same name written in full.
  return name.endsWith(".") ? name.slice(0, -1) : name;
}

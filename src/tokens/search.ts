/** Makes a search for a name that looks at each byte of a piece once: it gives the next place from a position on, and the piece's end when there is none. */
export function searchFor(name: Buffer): (bytes: Buffer, from: number) => number {
  let seen: Buffer | null = null;
  let next = -1;
  let last = -1;
  return (bytes, from) => {
    // Where it is next is searched for once in a piece, and again when the search has come there.
    const isOn = seen === bytes && from > last && next >= from;
    last = from;
    if (!isOn) {
      seen = bytes;
      const at = bytes.indexOf(name, from);
      next = at < 0 ? bytes.length : at;
    }
    return next;
  };
}

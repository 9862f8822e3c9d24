/**
 * Holds the same memory as words and as doubles. As long as one of them is reachable it stays mapped. They are of that part of the memory which
 * is in use: JavaScript's garbage collector counts all bytes of an array as living ones, and would wait for as much garbage.
 */
export interface Memory {
  readonly bytes: Uint8Array;
  readonly i32: Int32Array;
  readonly f64: Float64Array;
  /** Makes the arrays so many bytes long at least; then they are other ones of the same memory. */
  widen(bytes: number): void;
  /** Says that it will not be widened any more. */
  settle(): void;
}

class Views implements Memory {
  bytes: Uint8Array;
  i32: Int32Array;
  f64: Float64Array;
  private map: ((bytes: number) => Uint8Array) | null;

  constructor(
    map: (bytes: number) => Uint8Array,
    size: number,
    private readonly onSettled: () => void,
  ) {
    this.map = map;
    this.bytes = map(size);
    this.i32 = words(this.bytes);
    this.f64 = doubles(this.bytes);
  }

  widen(bytes: number): void {
    if (bytes <= this.bytes.byteLength) return;
    if (this.map === null) throw new Error("The table was closed.");
    this.bytes = this.map(bytes);
    this.i32 = words(this.bytes);
    this.f64 = doubles(this.bytes);
  }

  settle(): void {
    if (this.map === null) return;
    this.map = null;
    this.onSettled();
  }
}

const words = ({ buffer, byteOffset, byteLength }: Uint8Array): Int32Array => new Int32Array(buffer, byteOffset, byteLength / 4);
const doubles = ({ buffer, byteOffset, byteLength }: Uint8Array): Float64Array => new Float64Array(buffer, byteOffset, byteLength / 8);

/** Views the first `size` bytes of what `map` maps; both are multiples of 8. `onSettled`: nothing is mapped any more. */
export const memoryOf = (size: number, map: (bytes: number) => Uint8Array, onSettled: () => void = () => {}): Memory =>
  new Views(map, size, onSettled);

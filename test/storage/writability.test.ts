import { expect, test } from "bun:test";
import { join } from "node:path";
import { openStorage } from "../../src/storage/open.ts";
import { type Unwritable, Writability } from "../../src/storage/writability.ts";
import { FakeClock } from "../support/clock.ts";
import { folder } from "../support/process.ts";

test("a process that only reads warns of a fault of the database for as long as there are some, and writes nothing to find out", () => {
  using root = folder();
  const path = join(root.path, "sluice.db");
  const writer = openStorage(path);
  const reader = openStorage(path, { isOnlyRead: true });
  const clock = new FakeClock();
  const told: (Unwritable | null)[] = [];
  const writability = new Writability({ storage: reader, clock, onChange: (state) => void told.push(state) });
  expect(() => {
    try {
      reader.client.run("DELETE FROM keys");
    } catch (error) {
      if (!writability.failed(error)) return;
      throw error;
    }
  }).toThrow("readonly");
  writability.look();
  expect(told).toMatchObject([{ isDamaged: false }]);
  clock.advance(10_000);
  for (let n = 0; n < 10; n++) writability.look();
  expect(told).toMatchObject([{ isDamaged: false }, null]);
  expect(writability.state).toBeNull();
  reader.close();
  writer.close();
});

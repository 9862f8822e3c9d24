import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { watchCrowd } from "../../src/health/crowded.ts";
import { Warnings } from "../../src/health/warnings.ts";
import { Crowd, crowdLimits, type Member, type Seat } from "../../src/http/crowd.ts";
import { Descriptors, descriptors } from "../../src/http/descriptors.ts";
import { FakeClock } from "../support/clock.ts";
import { RawConnection } from "../support/raw.ts";
import { echo, server, text } from "../support/relay.ts";

/** A connection that only says whether it is open. */
class Guest implements Member {
  isOpen = true;
  seat: Seat | null = null;

  closeEarly(): boolean {
    this.isOpen = false;
    this.seat?.leave();
    return true;
  }
}

function enter(crowd: Crowd, ip: string): Guest {
  const guest = new Guest();
  guest.seat = crowd.admit(guest, ip);
  guest.isOpen = guest.seat !== null;
  return guest;
}

const GET = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

describe("connections beyond what there may be", () => {
  test("push out the one that has been idle longest, and are closed when none is idle", () => {
    const crowd = new Crowd({ maxConnections: 3, maxConnectionsPerAddress: 100 });
    const [a, b, c] = [enter(crowd, "192.0.2.1"), enter(crowd, "192.0.2.2"), enter(crowd, "192.0.2.3")];
    a.seat?.works();
    a.seat?.waits();
    const d = enter(crowd, "192.0.2.4");
    expect([a, b, c, d].map((it) => it.isOpen)).toEqual([true, false, true, true]);
    for (const it of [a, c, d]) it.seat?.works();
    expect(enter(crowd, "192.0.2.5").isOpen).toBe(false);
    expect(crowd.open).toBe(3);
    expect([crowd.closedEarly.total, crowd.refused.total]).toEqual([1, 1]);
    crowd.close();
  });

  test("are those of one address where it has too many, and cost no other address one", () => {
    const crowd = new Crowd({ maxConnections: 100, maxConnectionsPerAddress: 2 }, (ip) => ip === "192.0.2.99");
    const other = enter(crowd, "192.0.2.1");
    const [a, b, c] = [enter(crowd, "192.0.2.7"), enter(crowd, "192.0.2.7"), enter(crowd, "192.0.2.7")];
    expect([other, a, b, c].map((it) => it.isOpen)).toEqual([true, false, true, true]);
    for (const it of [b, c]) it.seat?.works();
    expect(enter(crowd, "192.0.2.7").isOpen).toBe(false);
    expect(crowd.lastCrowded).toBe("192.0.2.7");
    for (const ip of ["127.0.0.1", "::1", "192.0.2.99"])
      expect([1, 2, 3, 4].map(() => enter(crowd, ip).isOpen)).toEqual([true, true, true, true]);
    // One subscriber has a whole /64.
    expect([1, 2, 3].map((host) => enter(crowd, `2001:db8::${host}`)).map((it) => it.isOpen)).toEqual([false, true, true]);
    expect(enter(crowd, "2001:db8:0:1::1").isOpen).toBe(true);
    crowd.close();
  });

  test("are closed in the order in which they became idle, whatever came and went", () => {
    const step = fc.record({ what: fc.constantFrom("enter", "works", "waits", "leave"), ip: fc.nat(3), at: fc.nat(30) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const crowd = new Crowd({ maxConnections: 10, maxConnectionsPerAddress: 4 });
        // The model: all that are in, the longest idle first.
        let model: { guest: Guest; ip: number; isIdle: boolean }[] = [];
        for (const { what, ip, at } of steps) {
          const it = model[at % Math.max(model.length, 1)];
          if (what === "enter") {
            const expected = [...model];
            let isWelcome = true;
            const push = (of: typeof model) => {
              const victim = of.find(({ isIdle }) => isIdle);
              if (victim === undefined) isWelcome = false;
              else expected.splice(expected.indexOf(victim), 1);
            };
            if (expected.filter((each) => each.ip === ip).length >= 4) push(expected.filter((each) => each.ip === ip));
            if (isWelcome && expected.length >= 10) push(expected);
            const guest = enter(crowd, `192.0.2.${ip}`);
            expect(guest.isOpen).toBe(isWelcome);
            model = isWelcome ? [...expected, { guest, ip, isIdle: true }] : expected;
          } else if (it !== undefined) {
            model = model.filter((each) => each !== it);
            if (what === "leave") it.guest.closeEarly();
            else {
              if (what === "works") it.guest.seat?.works();
              else it.guest.seat?.waits();
              model.push({ ...it, isIdle: what === "waits" });
            }
          }
          expect(model.every(({ guest }) => guest.isOpen)).toBe(true);
          expect(crowd.open).toBe(model.length);
        }
        crowd.close();
      }),
    );
  });

  test("are as many as there are descriptors for, by themselves", () => {
    const { maxConnections, maxConnectionsPerAddress } = crowdLimits({ maxConnections: "auto", maxConnectionsPerAddress: "auto" });
    expect(maxConnections).toBeLessThan(descriptors.limit);
    expect(maxConnections).toBeGreaterThan(descriptors.limit / 2);
    expect(maxConnectionsPerAddress).toBe(Math.max(1000, Math.floor(maxConnections / 4)));
    // What can't be had is not promised.
    expect(crowdLimits({ maxConnections: 10_000_000, maxConnectionsPerAddress: 5 })).toEqual({
      maxConnections: descriptors.limit - descriptors.reserve,
      maxConnectionsPerAddress: 5,
    });
  });

  test("raise one warning, which goes a minute after the last", () => {
    const clock = new FakeClock(1_000_000);
    const lines: string[] = [];
    const warnings = new Warnings(
      () => clock.wall(),
      ({ code }, isRaised) => lines.push(`${code} ${isRaised}`),
    );
    const crowd = new Crowd({ maxConnections: 1, maxConnectionsPerAddress: 1 });
    const watch = watchCrowd(crowd, warnings, clock);
    watch();
    expect(warnings.all()).toEqual([]);
    for (let second = 0; second < 10; second++) {
      for (let i = 0; i < 100; i++) enter(crowd, "192.0.2.1");
      watch();
      clock.time += 1000;
    }
    expect(warnings.all().map(({ code, detail }) => [code, detail])).toEqual([
      ["addressConnectionsExhausted", "192.0.2.1: 1; since the start 999 closed early, 0 refused"],
    ]);
    clock.time += 60_000;
    watch();
    expect(lines).toEqual(["addressConnectionsExhausted true", "addressConnectionsExhausted false"]);
    crowd.close();
  });
});

describe("a server with as many connections as it may have", () => {
  test("closes the longest idle one for a new one, never one that is in use or has sent its request in part", async () => {
    const crowd = new Crowd({ maxConnections: 3, maxConnectionsPerAddress: 100 });
    const slow = Promise.withResolvers<void>();
    await using it = server((incoming) => (incoming.head.target === "/slow" ? slow.promise.then(() => echo(incoming)) : echo(incoming)), {
      crowd,
    });
    const busy = await RawConnection.open(it.port);
    busy.write(GET.replace("/", "/slow"));
    const idle = await RawConnection.open(it.port);
    idle.write(GET);
    await idle.until("HTTP/1.1 200");
    const partial = await RawConnection.open(it.port);
    partial.write("GET / HTTP/1.1\r\nHos");
    while (it.connections.size < 3 || it.inFlight < 1) await Bun.sleep(1);
    const fresh = await RawConnection.open(it.port);
    fresh.write(GET);
    expect(await fresh.until("HTTP/1.1 200")).toContain("HTTP/1.1 200");
    await idle.untilClosed();
    partial.write("t: h\r\n\r\n");
    await partial.until("HTTP/1.1 200");
    slow.resolve();
    await busy.until("HTTP/1.1 200");
    expect(it.connections.size).toBe(3);
    for (const each of [busy, partial, fresh]) each.close();
    while (crowd.open > 0) await Bun.sleep(1);
    crowd.close();
  });

  test("does not close one whose request has arrived and is not read yet", async () => {
    const crowd = new Crowd({ maxConnections: 2, maxConnectionsPerAddress: 100 });
    await using it = server((incoming) => incoming.reply(text(200, "hello")), { crowd });
    const first = await RawConnection.open(it.port);
    const second = await RawConnection.open(it.port);
    while (it.connections.size < 2) await Bun.sleep(1);
    const [accepted] = it.connections;
    first.write(GET);
    // This process does nothing while the request arrives, and looks at it before it reads.
    Bun.sleepSync(20);
    expect(accepted?.closeEarly()).toBe(false);
    await first.until("hello");
    expect(accepted?.closeEarly()).toBe(true);
    await first.untilClosed();
    second.close();
    while (crowd.open > 0) await Bun.sleep(1);
    crowd.close();
  });

  test("does not keep others waiting for clients that are answered and do not leave", async () => {
    const crowd = new Crowd({ maxConnections: 3, maxConnectionsPerAddress: 100 });
    await using it = server((incoming) => incoming.reply(text(200, "hello")), { crowd });
    const stubborn: RawConnection[] = [];
    for (let i = 0; i < 3; i++) {
      const connection = await RawConnection.open(it.port);
      connection.socket.allowHalfOpen = true;
      connection.write("nonsense\r\n\r\n");
      await connection.until("HTTP/1.1 400");
      stubborn.push(connection);
    }
    const fresh = await RawConnection.open(it.port);
    fresh.write(GET);
    await fresh.until("hello");
    expect(crowd.refused.total).toBe(0);
    for (const each of [...stubborn, fresh]) each.close();
    while (crowd.open > 0) await Bun.sleep(1);
    crowd.close();
  });

  test("closes the new one when all are in use, and serves again when one is free", async () => {
    const crowd = new Crowd({ maxConnections: 2, maxConnectionsPerAddress: 100 });
    const waiting: (() => void)[] = [];
    await using it = server((incoming) => void waiting.push(() => incoming.reply(text(200, "done"))), { crowd });
    const busy = [await RawConnection.open(it.port), await RawConnection.open(it.port)];
    for (const each of busy) each.write(GET);
    while (waiting.length < 2) await Bun.sleep(1);
    const sockets = descriptors.sockets;
    const extra = await RawConnection.open(it.port);
    expect(await extra.untilClosed()).toBe("");
    expect(descriptors.sockets).toBe(sockets);
    expect(crowd.refused.total).toBe(1);
    for (const answer of waiting.splice(0)) answer();
    for (const each of busy) await each.until("done");
    const next = await RawConnection.open(it.port);
    next.write(GET);
    while (waiting.length === 0) await Bun.sleep(1);
    waiting[0]?.();
    await next.until("done");
    for (const each of [...busy, next]) each.close();
    while (crowd.open > 0) await Bun.sleep(1);
    crowd.close();
  });
});

describe("the count of descriptors", () => {
  test("is short before the last one is taken, and makes room by what is idle", () => {
    const count = new Descriptors(() => 256);
    expect(count.reserve).toBe(32);
    for (let i = 0; i < 223; i++) count.opened();
    expect(count.isShort).toBe(false);
    count.opened();
    expect(count.isShort).toBe(true);
    expect(count.makeRoom()).toBe(false);
    let idle = 1;
    const forget = count.holdsIdle(() => {
      if (idle === 0) return false;
      idle--;
      count.closed();
      return true;
    });
    expect(count.makeRoom()).toBe(true);
    count.opened();
    expect(count.makeRoom()).toBe(false);
    forget();
    count.closed();
    expect(count.makeRoom()).toBe(true);
  });
});

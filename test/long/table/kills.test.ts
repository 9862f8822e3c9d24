// Processes on one table that are killed at random and between any two writes, compared with a model.
import { describe, expect, test } from "bun:test";
import { folder } from "../../support/process.ts";
import { countSites } from "./marked.ts";
import { playRounds } from "./rounds.ts";

const TEN_MINUTES = 600_000;

/** Gives the places of the source in turn. */
function inTurn(sites: number): () => number {
  let next = Math.floor(Math.random() * sites);
  return () => next++ % sites;
}

/** A table that always has too little room, and one that grows. */
const SMALL = { maxSubjects: 70, subjects: 400 };
const GROWING = { maxSubjects: 20_000, subjects: 1_000_000 };

describe("the shared table", () => {
  test(
    "has every step wholly or not at all, whoever is killed at whatever write",
    async () => {
      using place = folder();
      const sites = await countSites();
      const outcome = await playRounds({ folder: place.path, mutant: "none", rounds: 40, ...SMALL, nextSite: inTurn(sites) });
      console.log({ ...outcome, sites: `${outcome.sites.size} of ${sites}` });
      expect(outcome.faults).toEqual([]);
      expect(outcome.kills).toBeGreaterThanOrEqual(300);
      expect(outcome.takeovers).toBeGreaterThan(20);
      expect(outcome.evictions).toBeGreaterThan(0);
      // Some places are only come to where somebody has died just before.
      expect(outcome.sites.size).toBeGreaterThan(sites / 2);
    },
    TEN_MINUTES,
  );

  test(
    "has them also while it grows",
    async () => {
      using place = folder();
      const outcome = await playRounds({
        folder: place.path,
        mutant: "none",
        rounds: 15,
        ...GROWING,
        nextSite: inTurn(await countSites()),
      });
      console.log({ ...outcome, sites: outcome.sites.size });
      expect(outcome.faults).toEqual([]);
      expect(outcome.levels).toBeGreaterThan(1);
    },
    TEN_MINUTES,
  );

  for (const mutant of ["uncommitted", "in-place", "back-to-the-same"] as const)
    test(
      `would be caught by this test if it were broken: ${mutant}`,
      async () => {
        using place = folder();
        const outcome = await playRounds({ folder: place.path, mutant, rounds: 60, ...SMALL, nextSite: inTurn(await countSites()) });
        console.log(mutant, outcome.kills, outcome.faults[0]?.slice(0, 200));
        expect(outcome.faults).not.toEqual([]);
      },
      TEN_MINUTES,
    );
});

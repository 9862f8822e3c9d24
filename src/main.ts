import { runProgram } from "./cli/program.ts";

const status = await runProgram(Bun.argv.slice(2));
if (status !== null) process.exit(status);

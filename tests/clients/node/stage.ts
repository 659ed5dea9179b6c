// Where the server of this run listens, and the agents its starter has made.
import process from "node:process";

function given(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set`);
  return value;
}

export const HTTP = given("ASTER_HTTP");
export const GRPC = given("ASTER_GRPC");
export const SERVER_PID = Number(given("ASTER_PID"));
// An agent that answers, and one whose turns begin and do not end.
export const QUICK = "quick";
export const STUCK = "stuck";

export const LIMIT = 20_000; // milliseconds of anything that should be quick

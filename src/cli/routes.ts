import type { Command } from "./arguments.ts";
import { act, REMOTE_FLAGS, required } from "./remote.ts";
import { ROUTE_FLAGS, ROUTES, recordActions } from "./resources.ts";

export const routes: Command = {
  name: "routes",
  usage: "routes list | get NAME | create NAME --file FILE | update NAME --file FILE | delete NAME",
  summary: "Lists, shows, creates, changes and deletes routes of a running gateway.",
  flags: [...REMOTE_FLAGS, ...ROUTE_FLAGS],
  actions: ["list", "get", "create", "update", "delete"],
  positionals: 2,
  run: (input) =>
    act(input, "routes list|get|create|update|delete", {
      ...recordActions(input, ROUTES, (id) => `/admin/routes/${encodeURIComponent(required(id, "a route's name"))}`, ROUTES.columns),
    }),
};

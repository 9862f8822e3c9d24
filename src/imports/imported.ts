import { type Finished, finished } from "./finished.ts";
import { fromKong } from "./kong.ts";
import { fromNginx } from "./nginx.ts";
import { fromOpenApi } from "./openapi.ts";

export { Unreadable } from "./source.ts";

/** Makes a configuration of another program's. `file`: the name by which its lines are told. Throws `Unreadable`. */
export function imported(kind: "openapi" | "kong" | "nginx", file: string, text: string): Finished {
  switch (kind) {
    case "openapi":
      return finished(fromOpenApi(file, text));
    case "kong":
      return finished(fromKong(file, text));
    case "nginx":
      return finished(fromNginx(file, text));
  }
}

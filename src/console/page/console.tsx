import { render } from "preact";
import { App } from "./app.tsx";
import { startRouter } from "./router.ts";

const root = document.getElementById("app");
if (root !== null) {
  startRouter();
  render(<App />, root);
}

// Here, beside main.ts, since a compiled program finds its threads' entry points by their path from that.
import "./activities/worker.ts";

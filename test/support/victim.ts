// A backend in a process of its own, to be killed: `bun victim.ts PORT`. Answers 200 to everything.
const server = Bun.serve({ hostname: "127.0.0.1", port: Number(Bun.argv[2]), reusePort: false, fetch: () => new Response("alive") });
console.log(server.port);

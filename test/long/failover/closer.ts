// A backend that answers and then closes some of its connections while they are idle, as servers do whose idle time is over: by FIN, or by RST.
// `bun closer.ts PORT SHARE WITHIN fin|rst`: SHARE of connections from 0 to 1, within so many milliseconds after an answer. Prints its port.
const [port = "0", share = "0.2", within = "4", how = "fin"] = Bun.argv.slice(2);
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

interface State {
  head: string;
  /** Bytes of the body that are still to come; -1 while the head is read. */
  left: number;
}

const listener = Bun.listen<State>({
  hostname: "127.0.0.1",
  port: Number(port),
  socket: {
    open: (socket) => {
      socket.data = { head: "", left: -1 };
    },
    data: (socket, bytes) => {
      const state = socket.data;
      if (state.left >= 0) state.left -= bytes.length;
      else {
        state.head += bytes.toString("latin1");
        const end = state.head.indexOf("\r\n\r\n");
        if (end < 0) return;
        const length = Number(/\r\ncontent-length: (\d+)/i.exec(state.head)?.[1] ?? 0);
        state.left = length - (state.head.length - end - 4);
      }
      if (state.left > 0) return;
      state.head = "";
      state.left = -1;
      socket.write(OK);
      if (Math.random() >= Number(share)) return;
      const close = () => (how === "rst" ? socket.terminate() : socket.end());
      // Not before the answer can have been read: a reset takes that away from whoever is late.
      setTimeout(close, 1 + Math.random() * Number(within));
    },
  },
});
console.log(listener.port);

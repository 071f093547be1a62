// The WebSocket feed: subscribes, comes back by itself, and resumes where the sequence stopped.

const RETRY_MS = [250, 500, 1000, 2000, 5000];
const SILENT_MS = 4000;
const CONTROL = new Set(["hb", "ack", "error"]);

export class Feed {
  /** `onMessage(message)` for every message, `onState(text)` when the connection's state changes. */
  constructor(url, onMessage, onState) {
    Object.assign(this, { url, onMessage, onState, streams: new Map(), attempt: 0, heardMs: 0 });
    setInterval(() => this.#watch(), 1000);
  }

  open() {
    this.socket = new WebSocket(this.url);
    this.socket.onopen = () => {
      this.attempt = 0;
      this.heardMs = Date.now();
      this.onState("live");
      for (const stream of this.streams.values()) this.#send("subscribe", stream, stream.resumable ? stream.seq : null);
    };
    this.socket.onmessage = ({ data }) => {
      this.heardMs = Date.now();
      const message = JSON.parse(data);
      const stream = this.streams.get(key(message));
      if (!stream && !CONTROL.has(message.ch)) return; // of a stream left a moment ago
      if (stream) stream.seq = message.seq;
      this.onMessage(message);
    };
    this.socket.onclose = ({ code }) => this.#again(code);
  }

  /** Follows a stream; `resumable` ones go on after their last sequence when the connection comes back. */
  subscribe(ch, sym, { interval, resumable = false } = {}) {
    const stream = { ch, sym, interval, resumable, seq: null };
    this.streams.set(key(stream), stream);
    if (this.socket?.readyState === WebSocket.OPEN) this.#send("subscribe", stream, null);
  }

  unsubscribe(ch, sym, { interval } = {}) {
    const stream = this.streams.get(key({ ch, sym, interval }));
    if (!stream) return;
    this.streams.delete(key(stream));
    if (this.socket?.readyState === WebSocket.OPEN) this.#send("unsubscribe", stream, null);
  }

  /** Asks for a fresh snapshot of a stream. */
  resync(ch, sym, options) {
    this.unsubscribe(ch, sym, options);
    this.subscribe(ch, sym, options);
  }

  #send(op, { ch, sym, interval }, fromSeq) {
    const request = { op, ch, syms: [sym], conflate: true };
    if (interval) request.interval = interval;
    if (fromSeq !== null) request.from_seq = fromSeq;
    this.socket.send(JSON.stringify(request));
  }

  #watch() {
    if (this.socket?.readyState === WebSocket.OPEN && Date.now() - this.heardMs > SILENT_MS) this.socket.close();
  }

  #again(code) {
    const waitMs = RETRY_MS[Math.min(this.attempt++, RETRY_MS.length - 1)];
    this.onState(code === 1013 ? "starting" : "lost");
    setTimeout(() => this.open(), waitMs);
  }
}

function key({ ch, sym, interval }) {
  return `${ch}|${sym ?? "*"}|${interval ?? ""}`;
}

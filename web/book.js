// A book as the feed tells it: one snapshot, then deltas whose prev_seq and checksum prove that nothing is missing.
import { micros } from "./format.js";

const CRC_LEVELS = 10;
const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

export function crc32(text) {
  let crc = 0xffffffff;
  for (let i = 0; i < text.length; i++) crc = TABLE[(crc ^ text.charCodeAt(i)) & 0xff] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

export class Book {
  constructor() {
    this.clear();
  }

  clear() {
    this.seq = null;
    this.bids = [];
    this.asks = [];
  }

  /** Takes a message; returns "ok", "gap" (something is missing) or "checksum" (what is there is wrong). */
  take(message) {
    if (message.type === "snapshot") {
      this.bids = message.bids.map(level);
      this.asks = message.asks.map(level);
    } else {
      if (message.prev_seq > this.seq) return "gap";
      if (message.seq <= this.seq) return "ok";
      for (const change of message.bids) apply(this.bids, level(change), -1);
      for (const change of message.asks) apply(this.asks, level(change), 1);
    }
    this.seq = message.seq;
    return this.checksum() === message.crc ? "ok" : "checksum";
  }

  checksum() {
    const best = [...this.asks.slice(0, CRC_LEVELS), ...this.bids.slice(0, CRC_LEVELS)];
    return crc32(best.map(({ text, qty }) => digits(text) + digits(String(qty))).join(""));
  }
}

function level([text, qty]) {
  return { text, micros: micros(text), qty: Number(qty) };
}

/** Puts one level into a side that is sorted best first; direction 1 is upwards. */
function apply(levels, changed, direction) {
  let low = 0;
  let high = levels.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((levels[middle].micros - changed.micros) * direction < 0) low = middle + 1;
    else high = middle;
  }
  const known = levels[low]?.micros === changed.micros;
  if (changed.qty === 0) {
    if (known) levels.splice(low, 1);
  } else levels.splice(low, known ? 1 : 0, changed);
}

function digits(text) {
  return text.replace(".", "").replace(/^0+/, "");
}

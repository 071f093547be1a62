// The terminal: keeps what the feed says, and shows it at most once a frame; frozen, it keeps and does not show.
// What a reader does goes by what is kept, never by what was drawn last: two quick keys may meet one drawing.
import { Book } from "./book.js";
import { showCandles } from "./candles.js";
import { at, make, write } from "./dom.js";
import { Feed } from "./feed.js";
import { clock, count, day, decimal, decimalsOf, duration, group, micros, price, words } from "./format.js";
import { showLadder } from "./ladder.js";
import { Strip } from "./strip.js";
import { listing, showBoard, showIndex, showTape } from "./tables.js";
import { bindTheme } from "./theme.js";

const INTERVALS = [["1m", 60], ["5m", 300], ["15m", 900], ["1h", 3600], ["4h", 14400], ["1d", 86400]];
const CONNECTION = { live: "● Live", lost: "○ Connection lost, trying again", starting: "◌ The exchange is starting" };
const OWN_SEQUENCES = new Set(["hb", "listings", "delivery"]);
const KEEP_TRADES = 200;
const BOARD_POLL_MS = 15_000;

const state = {
  products: new Map(),
  points: [],
  product: null,
  contract: null,
  book: new Book(),
  ticker: null,
  trades: [],
  candles: [],
  indexes: [],
  listings: new Map(),
  interval: "1m",
  frozen: false,
  waiting: 0,
  messages: 0,
  seq: 0,
  beatMs: 0,
  checksum: "–",
  move: 0,
  candlesOf: "product",
  tapeOf: "product",
};
const dirty = new Set();
let feed;
let config;
let strip;

async function start() {
  config = await (await fetch("config.json")).json();
  strip = new Strip(
    () => ({ points: state.points, chosen: state.contract }),
    (contract) => choose(contract, true),
  );
  feed = new Feed(config.feed, take, (text) => write("connection", CONNECTION[text]));
  bind();
  feed.subscribe("status", "*");
  feed.subscribe("listings", "*");
  state.busiest = await lastTraded();
  feed.open();
  fetchBoard();
  setInterval(fetchBoard, BOARD_POLL_MS);
  setInterval(tick, 500);
}

// -- what comes

function take(message) {
  state.messages += 1;
  if (message.seq > state.seq && !OWN_SEQUENCES.has(message.ch)) state.seq = message.seq;
  const handler = HANDLERS[message.ch];
  if (handler) handler(message);
}

const HANDLERS = {
  hb(message) {
    state.seq = message.last_seq;
    state.beatMs = Date.now();
  },
  status(message) {
    if (message.type === "snapshot") {
      for (const product of message.products) state.products.set(product.product, product);
      mark("products");
      mark("quote");
      if (!state.product) chooseProduct(wanted());
    } else if (message.status.event === "product_state" || message.status.event === "product_defined") {
      feed.resync("status", "*");
    }
  },
  curve(message) {
    if (message.type === "snapshot") state.points = message.points;
    else mergePoints(message.points);
    mark("strip");
    keepChoice();
  },
  book(message) {
    const outcome = state.book.take(message);
    state.checksum = outcome === "ok" ? "✓ agrees" : outcome === "gap" ? "gap, asking again" : "✗ differs, asking again";
    if (message.doubted_since) state.checksum = `△ in doubt since event ${message.doubted_since}`;
    if (outcome !== "ok") feed.resync("book", message.sym, { resumable: true });
    mark("book");
  },
  ticker(message) {
    const [before, now] = [state.ticker?.last, message.ticker.last];
    if (before && now && before !== now) state.move = micros(now) - micros(before);
    state.ticker = message.ticker;
    mark("quote");
  },
  trades(message) {
    if (message.type === "snapshot") state.trades = message.trades;
    else state.trades = [message.trade, ...state.trades].slice(0, KEEP_TRADES);
    mark("tape");
  },
  candles(message) {
    if (message.type === "snapshot") state.candles = message.candles;
    else mergeCandle(message.candle);
    mark("candles");
  },
  index(message) {
    state.indexes = message.type === "snapshot" ? message.values : [message.value, ...state.indexes];
    mark("index");
  },
  listings(message) {
    for (const item of message.type === "snapshot" ? message.items : [message.item]) putListing(listing(item));
  },
  error(message) {
    if (message.code === "unknown_symbol") mark("quote");
  },
};

/** The contract's state, or its product's where that is not simply open, with what its auction would come to. */
function standing(ticker) {
  const product = state.products.get(state.product);
  if (ticker.state !== "OPEN" || !product || product.state === "OPEN") return words(ticker.state);
  const auction = ticker.auction;
  return words(product.state) + (auction ? ` · ${auction.qty} at ${decimal(auction.price)}` : "");
}

function mergePoints(points) {
  const known = new Map(state.points.map((point) => [point.contract, point]));
  for (const point of points) known.set(point.contract, point);
  state.points = [...known.values()].filter((point) => point.state === "OPEN");
  state.points.sort((a, b) => (a.start < b.start ? -1 : 1));
}

function mergeCandle(candle) {
  const same = state.candles.findIndex(({ start }) => start === candle.start);
  if (same >= 0) state.candles[same] = candle;
  else state.candles.push(candle);
}

function putListing(item) {
  const known = state.listings.get(item.listing_id);
  if (known && known.changed_ms > item.changed_ms) return;
  state.listings.set(item.listing_id, { ...known, ...item });
  mark("board");
}

async function fetchBoard() {
  try {
    const answer = await fetch(`${config.listings}/v1/listings`);
    if (!answer.ok) return;
    for (const item of (await answer.json()).listings) putListing(listing(item));
  } catch {
    // The listings service is away; the feed goes on telling what changes.
  }
}

/** The product that was traded last: what someone who asked for nothing may want to see. */
async function lastTraded() {
  try {
    const answer = await fetch(`${config.market_data}/v1/trades?limit=1`);
    const contract = answer.ok ? (await answer.json()).items[0]?.contract : undefined;
    return contract?.slice(0, contract.lastIndexOf("-"));
  } catch {
    return undefined; // Market data is away; the feed will say so.
  }
}

// -- what is chosen

function wanted() {
  const hash = decodeURIComponent(location.hash.slice(1));
  const product = hash.includes("-") ? hash.slice(0, hash.lastIndexOf("-")) : hash;
  if (state.products.has(product)) return product;
  if (state.products.has(state.busiest)) return state.busiest;
  const open = [...state.products.values()].find((row) => row.state === "OPEN");
  return open?.product ?? state.products.keys().next().value;
}

function chooseProduct(product) {
  if (!product || product === state.product) return;
  if (state.product) for (const ch of ["curve", "index"]) feed.unsubscribe(ch, state.product);
  leaveContract();
  followSpan("product", false);
  Object.assign(state, { product, points: [], indexes: [], interval: usualInterval(product) });
  followSpan("product", true);
  feed.subscribe("curve", product);
  feed.subscribe("index", product);
  mark("products", "strip", "index", "quote", "book");
}

/** A sandbox's own short period, else a minute. */
function usualInterval(product) {
  const periodS = state.products.get(product).period_s;
  return periodS < 60 ? `${periodS}s` : "1m";
}

function keepChoice() {
  if (!state.points.length) return;
  const hash = decodeURIComponent(location.hash.slice(1));
  const listed = (contract) => state.points.some((point) => point.contract === contract);
  if (!state.contract) choose(listed(hash) ? hash : front(), false);
  else if (at("follow").checked && !listed(state.contract)) choose(front(), false);
}

/** The first period that is offered and was traded, else that is offered, else the first. */
function front() {
  const offered = state.points.filter((point) => point.ask);
  return (offered.find((point) => point.last) ?? offered[0] ?? state.points[0]).contract;
}

/** By hand, only what is offered now: a click may come from a drawing of the product before. */
function choose(contract, byHand) {
  if (contract === state.contract) return;
  if (byHand && !state.points.some((point) => point.contract === contract)) return mark("strip");
  leaveContract();
  state.contract = contract;
  history.replaceState(null, "", `#${contract}`);
  feed.subscribe("book", contract, { resumable: true });
  feed.subscribe("ticker", contract);
  followSpan("contract", true);
  if (byHand) strip.select();
  mark("strip", "quote", "book");
  if (byHand) thaw();
}

function leaveContract() {
  if (!state.contract) return;
  feed.unsubscribe("book", state.contract);
  feed.unsubscribe("ticker", state.contract);
  followSpan("contract", false);
  state.book.clear();
  Object.assign(state, { contract: null, ticker: null, move: 0, checksum: "–" });
}

/** Follows, or leaves, the tape and the candles where they are those of the contract, or of the product. */
function followSpan(span, on) {
  if (state.tapeOf === span) followTape(on);
  if (state.candlesOf === span) followCandles(on);
}

function followTape(on) {
  const sym = state[state.tapeOf];
  if (!sym) return;
  if (on) return feed.subscribe("trades", sym);
  feed.unsubscribe("trades", sym);
  state.trades = [];
}

function followCandles(on) {
  const sym = state[state.candlesOf];
  const options = { interval: state.interval };
  if (!sym) return;
  if (on) return feed.subscribe("candles", sym, options);
  feed.unsubscribe("candles", sym, options);
  state.candles = [];
}

// -- what is shown

function mark(...parts) {
  for (const part of parts) dirty.add(part);
  if (state.frozen) state.waiting += 1;
  else if (!state.scheduled) {
    state.scheduled = true;
    requestAnimationFrame(show);
  }
}

function show() {
  state.scheduled = false;
  if (state.frozen) return;
  const product = state.products.get(state.product);
  if (!product) return;
  const terms = { currency: product.currency, periodS: product.period_s, decimals: decimalsOf(product.tick) };
  for (const part of [...dirty]) SHOW[part](terms);
  dirty.clear();
}

const SHOW = {
  products() {
    setOptions("product", [...state.products.keys()].sort().map((name) => [name, name]), state.product);
    const periodS = state.products.get(state.product)?.period_s ?? 3600;
    const own = periodS < 60 ? [[`${periodS}s`, periodS]] : [];
    setOptions("interval", [...own, ...INTERVALS].map(([name]) => [name, name]), state.interval);
  },
  strip(terms) {
    strip.show(terms);
    const options = state.points.map((point) => [point.contract, day(point.start, terms.periodS)]);
    if (state.contract && !options.some(([contract]) => contract === state.contract)) {
      options.unshift([state.contract, `${state.contract.split("-").at(-1)} (closed)`]);
    }
    setOptions("contract", options, state.contract);
  },
  book({ decimals }) {
    showLadder(state.book, decimals);
    write("book-seq", state.book.seq === null ? "–" : group(state.book.seq));
    write("checksum", state.checksum);
    showBest(decimals);
  },
  quote({ currency, decimals }) {
    const ticker = state.ticker;
    write("quote-name", state.contract ?? "–");
    write("unit", `${currency} per GPU-hour`);
    write("last", ticker?.last ? price(micros(ticker.last), decimals) : "–");
    write("move", state.move ? `${state.move > 0 ? "▲" : "▼"} ${price(Math.abs(state.move), decimals)}` : "");
    at("move").className = `move ${state.move > 0 ? "up" : "down"}`;
    for (const name of ["high", "low", "index"]) write(name, ticker?.[name] ? decimal(ticker[name]) : "–");
    write("volume", ticker ? `${count(ticker.qty, "GPU")} · ${count(ticker.trades, "trade")}` : "–");
    write("state", ticker ? standing(ticker) : "–");
    document.title = ticker?.last ? `${ticker.last} · ${state.contract} · Hourbook` : "Hourbook";
  },
  tape: ({ periodS }) => showTape(state.trades, periodS),
  candles: (terms) => showCandles(state.candles, terms),
  board: () => showBoard([...state.listings.values()]),
  index: ({ periodS }) => showIndex(state.indexes, periodS),
};

/** Fills a choice anew only where it differs, so that an open one does not close. */
function setOptions(id, options, chosen) {
  const select = at(id);
  const signature = options.join();
  if (select.dataset.signature !== signature) {
    select.dataset.signature = signature;
    select.replaceChildren(...options.map(([value, text]) => make("option", { value }, text)));
  }
  if (select.value !== chosen) select.value = chosen;
}

function showBest(decimals) {
  const [bid, ask] = [state.book.bids[0], state.book.asks[0]];
  write("best-bid", bid ? `${price(bid.micros, decimals)} × ${group(bid.qty)}` : "–");
  write("best-ask", ask ? `${price(ask.micros, decimals)} × ${group(ask.qty)}` : "–");
  write("spread", bid && ask ? price(ask.micros - bid.micros, decimals) : "–");
}

function tick() {
  const product = state.products.get(state.product);
  write("clock", clock(new Date().toISOString()));
  write("seq", group(state.seq));
  write("messages", group(state.messages));
  write("heartbeat", state.beatMs ? `${((Date.now() - state.beatMs) / 1000).toFixed(1)} s ago` : "–");
  write("waiting", state.frozen ? `${group(state.waiting)} changes wait` : "");
  const point = state.points.find(({ contract }) => contract === state.contract);
  write("gate", product && point ? duration(Date.parse(point.start) - product.gate_lead_s * 1000 - Date.now()) : "closed");
}

// -- what the reader does

function bind() {
  at("product").addEventListener("change", (event) => {
    chooseProduct(event.target.value);
    thaw();
  });
  at("contract").addEventListener("change", (event) => choose(event.target.value, true));
  at("interval").addEventListener("change", (event) => swap(followCandles, { interval: event.target.value }));
  at("candle-sym").addEventListener("change", (event) => swap(followCandles, { candlesOf: event.target.value }));
  at("tape-sym").addEventListener("change", (event) => swap(followTape, { tapeOf: event.target.value }));
  new ResizeObserver(() => mark("candles")).observe(at("chart"));
  at("freeze").addEventListener("click", freeze);
  bindTheme();
  for (const [name, id] of [["candlesOf", "candle-sym"], ["tapeOf", "tape-sym"]]) state[name] = at(id).value; // a reload may keep it
}

function swap(follow, change) {
  follow(false);
  Object.assign(state, change);
  follow(true);
  thaw();
}

/** Choosing something else is asking to see it. */
function thaw() {
  if (state.frozen) freeze();
}

function freeze() {
  state.frozen = !state.frozen;
  state.waiting = 0;
  at("freeze").setAttribute("aria-pressed", String(state.frozen));
  write("freeze-text", state.frozen ? "Unfreeze" : "Freeze");
  write("frozen-note", state.frozen ? "❚❚ Frozen" : "");
  document.body.classList.toggle("frozen", state.frozen);
  if (!state.frozen) show();
}

start();

// The plain tables: the tape of trades, the hardware board, the index.
import { at, make, write } from "./dom.js";
import { clock, day, decimal, micros, price, words } from "./format.js";

const TAPE_ROWS = 60;
const TAKERS = { buy: "▲ Buy", sell: "▼ Sell" };
const CONDITIONS = {
  N: "New",
  A: "Like new",
  B: "Good",
  C: "Worn",
  R: "Repaired",
  P: "For parts",
};

export function showTape(trades, periodS) {
  const rows = trades.slice(0, TAPE_ROWS).map((trade) =>
    make(
      "tr",
      { class: trade.taker_side || "auction" },
      make("td", { class: "time" }, clock(trade.time)),
      make("td", { class: "taker" }, TAKERS[trade.taker_side] || "◆ Auction"),
      make("td", { class: "n price" }, decimal(trade.price)),
      make("td", { class: "n" }, trade.qty),
      make("td", { class: "n delivery" }, day(startOf(trade.contract), periodS)),
    ),
  );
  at("tape").tBodies[0].replaceChildren(...(rows.length ? rows : [none(5, "No trades yet.")]));
}

export function showBoard(listings) {
  const rows = listings.sort((a, b) => b.changed_ms - a.changed_ms).map(offer);
  at("board").tBodies[0].replaceChildren(...(rows.length ? rows : [none(7, "Nothing is listed.")]));
  const open = listings.filter(({ state }) => state === "LISTED").length;
  write("board-hint", `${open} open of ${rows.length}`);
}

export function showIndex(values, periodS) {
  const decimals = Math.max(2, ...values.map(({ index }) => index.split(".")[1].length));
  const rows = values.map((value) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, day(value.start, periodS)),
      make("td", { class: "n" }, price(micros(value.index), decimals)),
      make("td", {}, value.stale ? `${value.level} · stale` : String(value.level)),
      make("td", { class: "digest", title: value.inputs_digest }, value.inputs_digest.slice(0, 12)),
    ),
  );
  at("index-table").tBodies[0].replaceChildren(...(rows.length ? rows : [none(4, "None is fixed yet.")]));
}

/** A listing as REST or the feed tells it, in one shape. */
export function listing(item) {
  return { ...item, price: item.price ?? price(item.price_micros), changed_ms: item.changed_ms ?? item.ts_ms };
}

function offer(item) {
  return make(
    "tr",
    {},
    make("th", { scope: "row", class: "wide" }, item.simulated ? `${item.title} · simulated` : item.title),
    make("td", {}, item.grade),
    make("td", {}, item.hub),
    make("td", {}, `${item.condition} · ${CONDITIONS[item.condition] ?? ""}`),
    make("td", { class: "n" }, String(item.gpus.length)),
    make("td", { class: "n" }, `${item.price.includes(",") ? item.price : decimal(item.price)} ${item.currency}`),
    make("td", {}, make("span", { class: `state state-${item.state.toLowerCase()}` }, words(item.state))),
  );
}

function none(columns, text) {
  return make("tr", {}, make("td", { colspan: columns, class: "empty" }, text));
}

/** The delivery start in a contract's name: YYMMDDHH or YYMMDDHHMMSS. */
function startOf(contract) {
  const digits = contract.slice(contract.lastIndexOf("-") + 1).padEnd(12, "0");
  const [year, month, date, hour, minute, second] = digits.match(/../g);
  return `20${year}-${month}-${date}T${hour}:${minute}:${second}Z`;
}

// The book as a ladder: asks above, bids below, the depth so far as a bar behind each row.
import { at, make, write } from "./dom.js";
import { count, group, price } from "./format.js";

const LEVELS = 10;

export function showLadder(book, decimals) {
  const asks = totals(book.asks);
  const bids = totals(book.bids);
  const deepest = Math.max(1, asks.at(-1)?.total ?? 0, bids.at(-1)?.total ?? 0);
  at("asks").replaceChildren(...blank(asks), ...asks.map((row) => line("Ask", row, deepest, decimals)).reverse());
  at("bids").replaceChildren(...bids.map((row) => line("Bid", row, deepest, decimals)), ...blank(bids));
  write("mid", middle(book, decimals));
  const sum = (levels) => levels.reduce((all, { qty }) => all + qty, 0);
  write("book-hint", `${count(sum(book.bids), "GPU")} bid, ${group(sum(book.asks))} offered`);
}

function totals(levels) {
  let total = 0;
  return levels.slice(0, LEVELS).map((level) => ({ ...level, total: (total += level.qty) }));
}

function line(side, { micros, qty, total }, deepest, decimals) {
  const row = make(
    "tr",
    { class: side.toLowerCase() },
    make("td", { class: "side" }, side),
    make("th", { scope: "row", class: "n" }, price(micros, decimals)),
    make("td", { class: "n" }, group(qty)),
    make("td", { class: "n" }, group(total)),
  );
  row.style.setProperty("--depth", `${((100 * total) / deepest).toFixed(1)}%`);
  return row;
}

/** Empty rows keep the page from jumping when levels come and go. */
function blank(rows) {
  return Array.from({ length: LEVELS - rows.length }, () => make("tr", { class: "blank", "aria-hidden": "true" }, make("td", { colspan: "4" }, "\u00a0")));
}

function middle(book, decimals) {
  const [bid, ask] = [book.bids[0], book.asks[0]];
  if (bid && ask) return `Spread ${price(ask.micros - bid.micros, decimals)}`;
  if (!bid && !ask) return "No orders in this book";
  return bid ? "No asks" : "No bids";
}

// Candles as SVG, and the same as a table: hollow where the price rose, filled where it fell, dashed while it runs.
import { at, draw, make } from "./dom.js";
import { clock, day, decimal, micros, price } from "./format.js";

const HEIGHT_MIN = 240;
const PLOT = { left: 8, right: 66, top: 12, bottom: 86 };
const VOLUME_HEIGHT = 44;
const SHOWN = 60;
const STEPS = [1, 2, 5];

export function showCandles(candles, { decimals, periodS }) {
  const shown = candles.slice(-SHOWN);
  const size = { width: at("chart").clientWidth, height: Math.max(HEIGHT_MIN, at("chart").clientHeight) };
  at("chart").replaceChildren(shown.length ? chart(shown, decimals, size) : make("p", { class: "empty" }, "No trades yet: no candles."));
  const rows = [...candles].reverse().map((candle) => row(candle, periodS));
  at("candle-table").tBodies[0].replaceChildren(...rows);
}

function chart(candles, decimals, { width, height }) {
  const last = candles.at(-1);
  const title = `Candles from ${day(candles[0].start)} to ${day(last.start)} UTC, last close ${decimal(last.close)}. The table below has all values.`;
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": title });
  const scale = priceScale(candles, width, height, decimals);
  for (const value of scale.ticks) svg.append(...gridLine(value, scale, decimals));
  const step = (width - PLOT.left - PLOT.right) / Math.max(candles.length, 24);
  const most = Math.max(...candles.map((candle) => Number(candle.qty)));
  candles.forEach((candle, i) => svg.append(candleMark(candle, PLOT.left + step * (i + 0.5), step, scale, most)));
  svg.append(...timeLabels(candles, step, height), ...lastLine(last, scale, decimals));
  return svg;
}

function priceScale(candles, width, height, decimals) {
  const low = Math.min(...candles.map((candle) => micros(candle.low)));
  const high = Math.max(...candles.map((candle) => micros(candle.high)));
  const margin = Math.max((high - low) * 0.08, 2 * 10 ** (6 - decimals));
  const [from, to] = [low - margin, high + margin];
  const bottom = height - PLOT.bottom;
  const y = (value) => PLOT.top + ((to - value) / (to - from)) * (bottom - PLOT.top);
  const interval = niceStep((to - from) / 5, 10 ** (6 - decimals));
  const ticks = [];
  for (let value = Math.ceil(from / interval) * interval; value <= to; value += interval) ticks.push(value);
  return { y, ticks, right: width - PLOT.right, height };
}

function niceStep(rough, least) {
  const power = 10 ** Math.floor(Math.log10(rough));
  return Math.max(least, power * (STEPS.find((step) => step * power >= rough) ?? 10));
}

function gridLine(value, scale, decimals) {
  const y = scale.y(value);
  return [
    draw("line", { class: "grid", x1: PLOT.left, x2: scale.right + 4, y1: y, y2: y }),
    draw("text", { class: "tick", x: scale.right + 10, y: y + 4 }, price(value, decimals)),
  ];
}

function candleMark(candle, x, step, scale, most) {
  const [open, close] = [scale.y(micros(candle.open)), scale.y(micros(candle.close))];
  const width = Math.min(14, Math.max(2, step * 0.62));
  const rose = close <= open;
  const group = draw("g", { class: `${rose ? "up" : "down"}${candle.final ? "" : " live"}` });
  const [top, bottom] = [Math.min(open, close), Math.max(open, close, Math.min(open, close) + 1.5)];
  const volume = (VOLUME_HEIGHT * Number(candle.qty)) / most;
  const volumeBottom = scale.height - 26;
  group.append(
    draw("title", {}, `${day(candle.start)} UTC: open ${candle.open}, high ${candle.high}, low ${candle.low}, close ${candle.close}, ${candle.qty} GPUs`),
    draw("line", { x1: x, x2: x, y1: scale.y(micros(candle.high)), y2: top }),
    draw("line", { x1: x, x2: x, y1: bottom, y2: scale.y(micros(candle.low)) }),
    draw("rect", { x: x - width / 2, y: top, width, height: bottom - top }),
    draw("rect", { class: "volume", x: x - width / 2, y: volumeBottom - volume, width, height: volume }),
  );
  return group;
}

function timeLabels(candles, step, height) {
  const every = Math.max(1, Math.ceil(84 / step));
  return candles
    .map((candle, i) => ({ candle, i }))
    .filter(({ i }) => i % every === 0)
    .map(({ candle, i }) => draw("text", { class: "tick", x: PLOT.left + step * (i + 0.5), y: height - 8, "text-anchor": "middle" }, clock(candle.start, 3600)));
}

function lastLine(candle, scale, decimals) {
  const y = scale.y(micros(candle.close));
  return [
    draw("line", { class: "last-line", x1: PLOT.left, x2: scale.right + 4, y1: y, y2: y }),
    draw("rect", { class: "last-box", x: scale.right + 5, y: y - 10, width: PLOT.right - 8, height: 20, rx: 4 }),
    draw("text", { class: "last-text", x: scale.right + 10, y: y + 4 }, price(micros(candle.close), decimals)),
  ];
}

function row(candle, periodS) {
  const cells = ["open", "high", "low", "close"].map((name) => make("td", { class: "n" }, decimal(candle[name])));
  return make(
    "tr",
    {},
    make("th", { scope: "row" }, day(candle.start, periodS % 60 ? 1 : 3600)),
    ...cells,
    make("td", { class: "n" }, candle.qty),
    make("td", {}, candle.final ? "Final" : "Running"),
  );
}

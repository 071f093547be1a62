// The strip of the next periods: one option of a list box each, as tall and as strong as its best ask is dear.
import { at, draw, make, write } from "./dom.js";
import { clock, day, decimal, micros } from "./format.js";

const PERIODS = 48;
const SHADES = 6;
const PAGE = 12;

export class Strip {
  constructor(onChoose) {
    this.points = [];
    this.onChoose = onChoose;
    this.list = at("strip");
    this.list.addEventListener("keydown", (event) => this.#key(event));
    this.list.addEventListener("click", (event) => {
      const option = event.target.closest("[role=option]");
      if (option) onChoose(option.dataset.contract);
    });
  }

  show(points, chosen, { currency, periodS }) {
    this.points = points.slice(0, PERIODS);
    this.chosen = chosen;
    const asks = this.points.filter((point) => point.ask).map((point) => micros(point.ask));
    const range = [Math.min(...asks), Math.max(...asks)];
    this.list.replaceChildren(...this.points.map((point, i) => this.#option(point, i, range, currency, periodS)));
    const selected = this.points.findIndex((point) => point.contract === chosen);
    if (selected < 0) this.list.removeAttribute("aria-activedescendant");
    else this.list.setAttribute("aria-activedescendant", `period-${selected}`);
    const known = this.points.filter((point) => point.ask).map((point) => point.ask);
    const span = known.length ? `${decimal(pick(known, range[0]))} – ${decimal(pick(known, range[1]))} ${currency}` : "no asks";
    write("strip-range", `${known.length} of ${this.points.length} with asks · ${span}`);
    at("strip-table").tBodies[0].replaceChildren(...this.points.map((point) => row(point, periodS)));
  }

  #option(point, i, [low, high], currency, periodS) {
    const share = point.ask ? (high > low ? (micros(point.ask) - low) / (high - low) : 0.5) : 0;
    const start = new Date(point.start);
    const text = point.ask ? `ask ${decimal(point.ask)} ${currency}, ${point.ask_qty} GPUs` : "no ask";
    const newDay = i === 0 || start.getUTCDate() !== new Date(this.points[i - 1].start).getUTCDate();
    const option = make(
      "div",
      {
        role: "option",
        id: `period-${i}`,
        "aria-selected": String(point.contract === this.chosen),
        "aria-label": `${day(point.start, periodS)}, ${text}`,
        "data-contract": point.contract,
        "data-shade": point.ask ? 1 + Math.round(share * (SHADES - 1)) : 0,
        class: newDay ? "new-day" : null,
        title: `${day(point.start, periodS)} · ${text}`,
      },
      make("span", { class: "bar-box", "aria-hidden": "true" }, bar(point, share)),
      make("span", { class: "hour", "aria-hidden": "true" }, label(point.start, periodS)),
      newDay ? make("span", { class: "date", "aria-hidden": "true" }, day(point.start).slice(0, 6)) : null,
    );
    return option;
  }

  #key(event) {
    const steps = { ArrowRight: 1, ArrowLeft: -1, PageDown: PAGE, PageUp: -PAGE, Home: -PERIODS, End: PERIODS };
    if (!(event.key in steps) || !this.points.length) return;
    event.preventDefault();
    const now = this.points.findIndex((point) => point.contract === this.chosen);
    const next = Math.min(this.points.length - 1, Math.max(0, now + steps[event.key]));
    this.onChoose(this.points[next].contract);
    this.list.children[next]?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
}

function bar(point, share) {
  if (!point.ask) return make("span", { class: "no-ask" }, "–");
  const svg = draw("svg", { viewBox: "0 0 10 100", preserveAspectRatio: "none" });
  const height = 22 + 78 * share;
  svg.append(draw("rect", { x: 0, y: 100 - height, width: 10, height }));
  return svg;
}

function label(start, periodS) {
  const text = clock(start, periodS);
  return periodS % 3600 ? text.slice(3) : text.slice(0, 2);
}

function row(point, periodS) {
  const cell = (text) => make("td", { class: "n" }, text ?? "–");
  return make(
    "tr",
    {},
    make("th", { scope: "row" }, day(point.start, periodS)),
    cell(point.bid && decimal(point.bid)),
    cell(point.bid_qty),
    cell(point.ask && decimal(point.ask)),
    cell(point.ask_qty),
    cell(point.last && decimal(point.last)),
  );
}

function pick(texts, wanted) {
  return texts.find((text) => micros(text) === wanted);
}

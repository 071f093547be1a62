// The strip of the next periods: one option of a list box each, as tall and as strong as its best ask is dear.
import { at, draw, make, write } from "./dom.js";
import { clock, day, decimal, micros } from "./format.js";

const PERIODS = 48;
const SHADES = 6;
const PAGE = 12;
const STEPS = { ArrowRight: 1, ArrowLeft: -1, PageDown: PAGE, PageUp: -PAGE, Home: -PERIODS, End: PERIODS };

export class Strip {
  /** `read()` gives what is true now, `{ points, chosen }`: keys go by it, never by what was drawn last. */
  constructor(read, onChoose) {
    this.read = read;
    this.onChoose = onChoose;
    this.options = new Map(); // by contract; kept over drawings, so that a press and its release meet one element
    this.list = at("strip");
    this.list.addEventListener("keydown", (event) => this.#key(event));
    this.list.addEventListener("click", (event) => {
      const option = event.target.closest("[role=option]");
      if (option) onChoose(option.dataset.contract);
    });
  }

  show({ currency, periodS }) {
    const points = this.#points();
    const known = points.filter((point) => point.ask).map((point) => point.ask);
    const asks = known.map(micros);
    const range = [Math.min(...asks), Math.max(...asks)];
    this.#place(points.map((point, i) => this.#option(point, points[i - 1], range, currency, periodS)));
    this.select();
    const span = known.length ? `${decimal(pick(known, range[0]))} – ${decimal(pick(known, range[1]))} ${currency}` : "no asks";
    write("strip-range", `${known.length} of ${points.length} with asks · ${span}`);
    at("strip-table").tBodies[0].replaceChildren(...points.map((point) => row(point, periodS)));
  }

  /** Marks the chosen period on what is drawn, at once. */
  select() {
    const { chosen } = this.read();
    for (const [contract, { element }] of this.options) element.setAttribute("aria-selected", String(contract === chosen));
    const option = this.options.get(chosen);
    if (option) this.list.setAttribute("aria-activedescendant", option.element.id);
    else this.list.removeAttribute("aria-activedescendant");
  }

  #points() {
    return this.read().points.slice(0, PERIODS);
  }

  /** Puts the elements into the list in their order, and touches only what is not there already. */
  #place(elements) {
    const wanted = new Set(elements);
    for (const [contract, { element }] of this.options) {
      if (wanted.has(element)) continue;
      element.remove();
      this.options.delete(contract);
    }
    elements.forEach((element, i) => {
      if (this.list.children[i] !== element) this.list.insertBefore(element, this.list.children[i] ?? null);
    });
  }

  /** The option of a period: made once, filled anew where what it says has changed. */
  #option(point, before, [low, high], currency, periodS) {
    const share = point.ask ? (high > low ? (micros(point.ask) - low) / (high - low) : 0.5) : 0;
    const text = point.ask ? `ask ${decimal(point.ask)} ${currency}, ${point.ask_qty} GPUs` : "no ask";
    const newDay = !before || new Date(point.start).getUTCDate() !== new Date(before.start).getUTCDate();
    const says = [point.start, text, share, newDay].join();
    const known = this.options.get(point.contract);
    if (known?.says === says) return known.element;
    const element = known?.element ?? make("div", { role: "option", id: `period-${point.contract}`, "data-contract": point.contract });
    this.options.set(point.contract, { element, says });
    element.setAttribute("aria-label", `${day(point.start, periodS)}, ${text}`);
    element.title = `${day(point.start, periodS)} · ${text}`;
    element.dataset.shade = point.ask ? 1 + Math.round(share * (SHADES - 1)) : 0;
    element.classList.toggle("new-day", newDay);
    element.replaceChildren(
      make("span", { class: "bar-box", "aria-hidden": "true" }, bar(point, share)),
      make("span", { class: "hour", "aria-hidden": "true" }, label(point.start, periodS)),
      ...(newDay ? [make("span", { class: "date", "aria-hidden": "true" }, day(point.start).slice(0, 6))] : []),
    );
    return element;
  }

  #key(event) {
    const points = this.#points();
    if (!(event.key in STEPS) || !points.length) return;
    event.preventDefault();
    const now = points.findIndex((point) => point.contract === this.read().chosen);
    const next = Math.min(points.length - 1, Math.max(0, now + STEPS[event.key]));
    this.onChoose(points[next].contract);
    this.options.get(points[next].contract)?.element.scrollIntoView({ block: "nearest", inline: "nearest" });
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

// Turns decimal strings and times into what a person reads. Prices are compared as whole micro-units, never as floats.

const MICROS = 1_000_000;

/** '12.84' → 12840000. */
export function micros(text) {
  const [whole, part = ""] = text.split(".");
  return Number(whole) * MICROS + Number(part.padEnd(6, "0"));
}

/** 12840000 → '12.84' with as many decimals as the tick has, at least two. */
export function price(value, decimals = 2) {
  const sign = value < 0 ? "−" : "";
  const scaled = Math.abs(value);
  const whole = Math.floor(scaled / MICROS);
  const part = String(scaled % MICROS).padStart(6, "0").slice(0, Math.max(decimals, 2));
  return `${sign}${group(whole)}.${part}`;
}

/** How many decimals a tick such as '0.001' has. */
export function decimalsOf(tick) {
  return (tick.split(".")[1] ?? "").replace(/0+$/, "").length || 2;
}

/** 1234567 → '1,234,567'. */
export function group(value) {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** (1, "trade") → '1 trade', (2, "trade") → '2 trades'. */
export function count(value, noun) {
  return `${group(value)} ${noun}${Number(value) === 1 ? "" : "s"}`;
}

/** A decimal string as it came, with groups. */
export function decimal(text) {
  const [whole, part] = text.split(".");
  return part === undefined ? group(whole) : `${group(whole)}.${part}`;
}

/** '2026-11-22T13:00:00.000Z' → '22 Nov 13:00' (with seconds for short periods). */
export function day(text, periodS = 3600) {
  const moment = new Date(text);
  const date = moment.toLocaleDateString("en-GB", { day: "2-digit", month: "short", timeZone: "UTC" });
  return `${date} ${clock(text, periodS)}`;
}

/** The time of day in UTC: '13:00', with seconds where periods are shorter than a minute's multiple of ten. */
export function clock(text, periodS = 1) {
  return new Date(text).toISOString().slice(11, periodS % 3600 ? 19 : 16);
}

/** Milliseconds → '1 h 04 min', '4 min 09 s', '9 s'. */
export function duration(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s >= 3600) return `${Math.floor(s / 3600)} h ${String(Math.floor((s % 3600) / 60)).padStart(2, "0")} min`;
  return s >= 60 ? `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, "0")} s` : `${s} s`;
}

/** 'position_state' → 'position state', 'LOCKED' → 'Locked'. */
export function words(text) {
  const plain = text.replaceAll("_", " ").toLowerCase();
  return plain[0].toUpperCase() + plain.slice(1);
}

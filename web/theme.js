// Dark or light: the system's theme until the reader chooses, then the reader's.
import { at, write } from "./dom.js";

export function bindTheme() {
  at("theme").addEventListener("click", () => {
    const next = theme() === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem("hourbook.theme", next);
    } catch {
      // Storage may be forbidden; the choice then lasts as long as the page.
    }
    showTheme();
  });
  showTheme();
}

function theme() {
  const system = matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark";
  return document.documentElement.dataset.theme ?? system;
}

function showTheme() {
  write("theme-text", theme() === "dark" ? "Light" : "Dark");
}

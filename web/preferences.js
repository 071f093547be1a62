// Sets the theme before the page is painted: the reader's choice, else the system's.
try {
  const chosen = localStorage.getItem("hourbook.theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
} catch {
  // Storage may be forbidden; the system's theme stands.
}

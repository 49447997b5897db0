// Before the first paint, so that no page flashes in the wrong colours; the policy allows no script inside the page.
(() => {
  const root = document.documentElement;
  let kept = {};
  try {
    kept = JSON.parse(localStorage.getItem("sightline.prefs") ?? "{}");
  } catch {
    // Storage may be closed to us: then the system decides.
  }
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = kept.theme === "light" || kept.theme === "dark" ? kept.theme : dark ? "dark" : "light";
  root.lang = kept.lang ?? (navigator.language.startsWith("ru") ? "ru" : "en");
})();

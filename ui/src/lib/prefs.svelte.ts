/** What this browser remembers of its user: looks and view settings, never data or keys. */

export type Theme = "system" | "dark" | "light";
export type Lang = "en" | "ru";

export interface Prefs {
  theme: Theme;
  lang: Lang;
  /** Keys of one letter act. */
  letters: boolean;
  boxes: boolean;
  tracks: boolean;
  zones: boolean;
  labels: boolean;
  threshold: number;
  /** Tiles shown at once: 1, 4 or 9. */
  tiles: number;
}

const NAME = "sightline.prefs"; // public/theme.js reads it too
const FIRST: Prefs = {
  theme: "system",
  lang: navigator.language.startsWith("ru") ? "ru" : "en",
  letters: true,
  boxes: true,
  tracks: true,
  zones: true,
  labels: true,
  threshold: 0,
  tiles: 4,
};

function kept(): Partial<Prefs> {
  try {
    return JSON.parse(localStorage.getItem(NAME) ?? "{}") as Partial<Prefs>;
  } catch {
    return {};
  }
}

export const prefs: Prefs = $state({ ...FIRST, ...kept() });

/** Change settings, and remember them. */
export function prefer(change: Partial<Prefs>): void {
  Object.assign(prefs, change);
  try {
    localStorage.setItem(NAME, JSON.stringify(prefs));
  } catch {
    // A browser that keeps nothing: the change holds until the page is left.
  }
}

const night = matchMedia("(prefers-color-scheme: dark)");
let systemIsDark = $state(night.matches);
night.addEventListener("change", () => (systemIsDark = night.matches));

/** The theme that is shown. */
export function shownTheme(): "dark" | "light" {
  return prefs.theme === "system" ? (systemIsDark ? "dark" : "light") : prefs.theme;
}

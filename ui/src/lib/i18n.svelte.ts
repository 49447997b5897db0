/** Texts by key, in the language of the user. `t("live.pause")`, `n("live.cameras", 3)` for what is counted. */
import { prefs, type Lang } from "./prefs.svelte";

type Texts = Record<string, string>;
type Values = Record<string, string | number>;

const LOADERS: Record<Lang, Record<"first" | "rest", () => Promise<{ default: Texts }>>> = {
  en: { first: () => import("texts:en/first"), rest: () => import("texts:en/rest") },
  ru: { first: () => import("texts:ru/first"), rest: () => import("texts:ru/rest") },
};
let texts: Texts = $state.raw({});
let shown: Lang = $state("en");
let isWhole = false; // the texts of the other pages are wanted too

/** Load the texts of the chosen language; until they are there, the ones before stay. */
export async function loadTexts(): Promise<void> {
  const wanted = prefs.lang;
  const { first, rest } = LOADERS[wanted];
  const parts = await Promise.all(isWhole ? [first(), rest()] : [first()]);
  if (wanted !== prefs.lang) return; // chosen otherwise meanwhile
  texts = Object.assign({}, ...parts.map((part) => part.default)) as Texts;
  shown = wanted;
  document.documentElement.lang = wanted;
}

/** Load the texts that the first page does not need; `texts.js` says which those are. */
export async function loadAllTexts(): Promise<void> {
  if (isWhole) return;
  isWhole = true;
  await loadTexts();
}

/** The language whose texts are shown. */
export function lang(): Lang {
  return shown;
}

/** True when a key has a text: for words that come from the server. */
export function has(key: string): boolean {
  return key in texts;
}

/** Return the word of a page; of one that there is not, that there is none. */
export function pageWord(page: string): string {
  return t(has(`nav.${page}`) ? `nav.${page}` : "shell.page.none");
}

/** Return a text, `{name}` in it replaced by values. An unknown key shows itself: a test finds it. */
export function t(key: string, values?: Values): string {
  const text = texts[key] ?? key;
  return values === undefined ? text : text.replace(/\{(\w+)\}/g, (all, name: string) => String(values[name] ?? all));
}

/** Return a text for a number, by the plural rules of the language: keys `KEY.one`, `KEY.few`, `KEY.other`. */
export function n(key: string, count: number, values?: Values): string {
  const rule = new Intl.PluralRules(shown).select(count);
  const form = `${key}.${rule}` in texts ? rule : "other";
  return t(`${key}.${form}`, { count: grouped(count), ...values });
}

/** Return a whole number with thin spaces between thousands: 1 284. */
export function grouped(count: number): string {
  return String(Math.round(count)).replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

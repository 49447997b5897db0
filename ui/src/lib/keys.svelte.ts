/** The keyboard map: a page says what its keys do, the list of `?` shows it. */
import { untrack } from "svelte";
import { t } from "./i18n.svelte";
import { prefs } from "./prefs.svelte";

export interface Key {
  /** As `KeyboardEvent.key` in lower case, `space` for the bar; `g l` for two after one another. */
  keys: string;
  /** Key of the text that tells what it does; without one it is not listed. */
  says?: string;
  /** Key of the heading in the list. */
  group?: string;
  run: (event: KeyboardEvent) => void;
  /** False: it does nothing now, and the browser has it. */
  when?: () => boolean;
}

let bound: readonly Key[] = [];
let changed = $state(0);
let first = ""; // of two keys, the one that was pressed
let firstAt = 0;
const PAIR_MS = 1500;

/** Bind keys while a component lives: call it in the component's script. The newest binding of a key counts. */
export function useKeys(keys: readonly Key[]): void {
  $effect(() => {
    bound = [...keys, ...bound];
    untrack(() => changed++);
    return () => {
      bound = bound.filter((key) => !keys.includes(key));
      untrack(() => changed++);
    };
  });
}

export function boundKeys(): readonly Key[] {
  return changed >= 0 ? bound : [];
}

/** The name of a key as a cap shows it. */
export function cap(key: string): string {
  const named: Record<string, string> = {
    space: t("keys.space"), escape: "Esc", enter: "Enter", arrowup: "↑", arrowdown: "↓", arrowleft: "←", arrowright: "→", pageup: "PgUp", pagedown: "PgDn",
  };
  return named[key] ?? (key.length === 1 ? key.toUpperCase() : key);
}

function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target.isContentEditable || target.matches("textarea, select")) return true;
  return target instanceof HTMLInputElement && !["checkbox", "radio", "range", "button"].includes(target.type);
}

function isWidget(target: EventTarget | null, name: string): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (name === "space" || name === "enter") return target.matches("button, a, summary, input");
  return name.startsWith("arrow") && target.matches("input, [role=tab], [role=option]");
}

addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
  const name = event.key === " " ? "space" : event.key.toLowerCase();
  if (document.querySelector("dialog[open]")) return; // it has its own keys
  if (name.length === 1 && !prefs.letters && name !== "?") return;
  const pair = performance.now() - firstAt < PAIR_MS ? `${first} ${name}` : "";
  first = "";
  const found = bound.find((key) => key.keys === pair) ?? bound.find((key) => key.keys === name);
  if (found && (found.when?.() ?? true) && !isWidget(event.target, name)) {
    event.preventDefault();
    found.run(event);
  } else if (bound.some((key) => key.keys.startsWith(`${name} `))) {
    first = name;
    firstAt = performance.now();
  }
});

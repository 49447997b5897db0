/** Words and looks of models. */
import { number } from "../../lib/format";
import { has, t } from "../../lib/i18n.svelte";
import type { Look } from "../../lib/state";

export function modelLook(isLoaded: boolean, isUnloaded: boolean): Look {
  if (isUnloaded) return { word: "models.state.unloaded", role: "stalled", icon: "stop" };
  if (isLoaded) return { word: "models.state.loaded", role: "live", icon: "dot" };
  return { word: "models.state.disk", role: "stopped", icon: "ring" };
}

export function taskWord(task: string): string {
  const key = `models.task.${task}`;
  return has(key) ? t(key) : task || t("models.task.unknown");
}

export type Tone = "" | "a" | "g" | "w" | "r" | "v";
const TONES: Record<string, Tone> = { production: "g", candidate: "v", shadow: "v" };
export const aliasTone = (alias: string): Tone => TONES[alias] ?? "";

/** Numbers of a card as rows: nested ones by their names one after the other. */
export function flattened(metrics: Record<string, unknown>, above = ""): { name: string; value: string }[] {
  return Object.entries(metrics).flatMap(([key, value]) => {
    const name = above ? `${above}: ${key}` : key;
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return flattened(value as Record<string, unknown>, name);
    return [{ name, value: typeof value === "number" ? figure(value) : String(value) }];
  });
}

/** A number of a card with at most four digits that mean something. */
export function figure(value: number): string {
  const short = String(Number(value.toPrecision(4)));
  return number(value, /^-?\d+\.(\d+)$/.exec(short)?.[1]?.length ?? 0);
}

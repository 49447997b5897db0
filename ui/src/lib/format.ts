/** Numbers, times and sizes as the language writes them. An unknown value is blank, never 0. */
import { grouped, lang, t } from "./i18n.svelte";

type Unknown = number | null | undefined;
const isNumber = (value: Unknown): value is number => typeof value === "number" && Number.isFinite(value);

/** 1 284.5, in Russian 1 284,5; blank where it is unknown. */
export function number(value: Unknown, digits = 0): string {
  if (!isNumber(value)) return "";
  const [whole = "0", rest] = Math.abs(value).toFixed(digits).split(".");
  const sign = value < 0 && Number(value.toFixed(digits)) !== 0 ? "\u2212" : "";
  return sign + grouped(Number(whole)) + (rest ? (lang() === "ru" ? "," : ".") + rest : "");
}

/** A share of 1 as 13.4 %. */
export function percent(share: Unknown, digits = 0): string {
  return isNumber(share) ? `${number(share * 100, digits)}\u00a0%` : "";
}

/** 12:41:06 today, else 3 Nov 12:41; the year only where it is another one. */
export function time(when: Date | string | Unknown, now = new Date()): string {
  if (when === null || when === undefined) return "";
  const date = new Date(when);
  if (date.toDateString() === now.toDateString()) return clock(date);
  const year = date.getFullYear() === now.getFullYear() ? {} : ({ year: "numeric" } as const);
  const day = new Intl.DateTimeFormat(lang() === "ru" ? "ru" : "en-GB", { day: "numeric", month: "short", ...year });
  return `${day.format(date)} ${clock(date).slice(0, 5)}`;
}

/** 12:41:06, in the zone of the browser. */
export function clock(when: Date | string | number): string {
  const date = new Date(when);
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map((part) => String(part).padStart(2, "0")).join(":");
}

/** 0.18 s, 14.2 s, 1 min 22 s, 3 h 5 min, 2 d 4 h. */
export function duration(seconds: Unknown): string {
  if (!isNumber(seconds)) return "";
  const of = (value: number, unit: string) => `${grouped(value)}\u00a0${t(unit)}`;
  if (seconds < 59.95) return `${number(seconds, seconds < 9.995 ? 2 : 1)}\u00a0${t("unit.s")}`;
  const whole = Math.round(seconds);
  const pairs: [number, string, number, string][] = [
    [86400, "unit.d", 3600, "unit.h"],
    [3600, "unit.h", 60, "unit.min"],
    [60, "unit.min", 1, "unit.s"],
  ];
  const [big, bigUnit, small, smallUnit] = pairs.find(([size]) => whole >= size) ?? pairs[2]!;
  const rest = Math.floor((whole % big) / small);
  return of(Math.floor(whole / big), bigUnit) + (rest ? ` ${of(rest, smallUnit)}` : "");
}

/** Whole seconds for countdowns and stays: 14 s, 1 min 22 s. */
export function seconds(value: Unknown): string {
  if (!isNumber(value)) return "";
  return value < 59.5 ? `${Math.max(0, Math.round(value))}\u00a0${t("unit.s")}` : duration(value);
}

/** 21 ms, 1.3 s. */
export function milliseconds(value: Unknown): string {
  if (!isNumber(value)) return "";
  if (value >= 1000) return duration(value / 1000);
  return `${number(value, value < 9.95 ? 1 : 0)}\u00a0${t("unit.ms")}`;
}

/** 2.4 MB; decimal units. */
export function bytes(value: Unknown): string {
  if (!isNumber(value)) return "";
  const units = ["unit.B", "unit.kB", "unit.MB", "unit.GB", "unit.TB"];
  const step = value < 1000 ? 0 : Math.min(4, Math.floor(Math.log10(value) / 3));
  const size = value / 1000 ** step;
  return `${number(size, step && size < 99.95 ? 1 : 0)}\u00a0${t(units[step]!)}`;
}

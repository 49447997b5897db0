/**
 * How old a picture is, although the clocks of the camera's server and of this browser may differ.
 *
 * Every answer of the server carries its time, to the second. As long as the clocks may be the same they are taken for
 * the same; once they cannot be, ages count from the quickest picture of all, and are told as "at least".
 */

const TOLD_LATE_MS = 2100; // the server renews that header once a second, and it leaves out what is below a second
let low = -Infinity; // server's clock minus ours lies between the two
let high = Infinity;
let quickest = Infinity; // ms between a picture's time and its coming, the smallest so far

/** Learn from an answer: its header `Date`, and when it was asked for and came, by `Date.now()`. */
export function heardTime(date: string | null, asked: number, came: number): void {
  const told = Date.parse(date ?? "");
  if (Number.isNaN(told)) return;
  low = Math.max(low, told - came);
  high = Math.min(high, told + TOLD_LATE_MS - asked);
  if (low > high) [low, high] = [told - came, told + TOLD_LATE_MS - asked]; // a clock was set
}

/** True when ages are exact; else they are "at least". */
export function clocksAgree(): boolean {
  return low <= 0 && high >= 0;
}

/** Return how long it is, in seconds, until a moment that the server named; `now` by `Date.now()`. */
export function until(time: string, now: number): number {
  const apart = clocksAgree() ? 0 : (low + high) / 2;
  return Math.max(0, Date.parse(time) - now - apart) / 1000;
}

/** Return how old, in seconds, a picture was when it came at `came` (by `Date.now()`). */
export function ageOnArrival(time: string, came: number): number {
  const late = came - Date.parse(time);
  quickest = Math.min(quickest, late);
  return Math.max(0, clocksAgree() ? late : late - quickest) / 1000;
}

/** Numbers over time, as paths and ticks: no smoothing, and what is unknown is a gap. */

export interface Series {
  id: string;
  word: string;
  /** 1 to 6: `--c-1`...; 0 is the reference. */
  colour: number;
  /** One for each time; null: unknown. */
  values: readonly (number | null)[];
}
export interface Limit {
  word: string;
  value: number;
}

const STEPS = [1, 2, 4, 6, 8, 10];

/** Return the highest tick: a round number of which the half is round too, at least `least`. */
export function topOf(series: readonly Series[], limits: readonly Limit[], least: number): number {
  let highest = least;
  for (const { values } of series) for (const value of values) if (value !== null && value > highest) highest = value;
  for (const { value } of limits) highest = Math.max(highest, value);
  const unit = 10 ** Math.floor(Math.log10(highest));
  return (STEPS.find((step) => step * unit >= highest * 0.9999) ?? 10) * unit;
}

/** Return the points of each stretch without a gap, between (0, 0) and (width, height), y downwards. */
export function stretches(
  times: readonly number[],
  values: readonly (number | null)[],
  { from, to, top, width, height, gapMs }: { from: number; to: number; top: number; width: number; height: number; gapMs: number },
): string[] {
  const made: string[] = [];
  let points: string[] = [];
  let before = -Infinity;
  const end = () => {
    if (points.length === 1) points.push(points[0]!.replace(/^[\d.]+/, (x) => String(Number(x) + 0.8))); // a dot is seen too
    if (points.length) made.push(points.join(" "));
    points = [];
  };
  times.forEach((time, at) => {
    const value = values[at] ?? null;
    if (time < from || time > to) return;
    if (value === null || time - before > gapMs) end();
    if (value !== null) {
      const x = (width * (time - from)) / (to - from);
      points.push(`${x.toFixed(1)},${(height - (height * Math.min(value, top)) / top).toFixed(1)}`);
      before = time;
    }
  });
  end();
  return made;
}

/** The newest value that is known, unless it is older than `mostMs`. */
export function newest(times: readonly number[], values: readonly (number | null)[], now: number, mostMs: number): number | null {
  for (let at = times.length - 1; at >= 0 && now - times[at]! <= mostMs; at--) if (values[at] != null) return values[at]!;
  return null;
}

/** Return what is nearest to a moment; -1 where there is nothing. */
export function nearest(times: readonly number[], moment: number): number {
  let best = -1;
  times.forEach((time, at) => {
    if (best < 0 || Math.abs(time - moment) < Math.abs(times[best]! - moment)) best = at;
  });
  return best;
}

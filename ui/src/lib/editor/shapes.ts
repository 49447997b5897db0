/** Geometry of what is drawn on a picture: whether it is sound, and what is said where it is not. */

export type Spot = readonly [number, number];
export type Size = readonly [number, number];
export type Fault = "few" | "crossing" | "outside" | "short";

/** Return what is wrong with a polygon or a line, the worst first; places in pixels of the picture. */
export function faultsOf(kind: "zone" | "line", points: readonly Spot[], size: Size): { fault: Fault; at: number }[] {
  const faults: { fault: Fault; at: number }[] = [];
  if (points.length < (kind === "zone" ? 3 : 2)) faults.push({ fault: "few", at: -1 });
  else if (kind === "line") {
    const [start, end] = points as [Spot, Spot];
    if (start[0] === end[0] && start[1] === end[1]) faults.push({ fault: "short", at: 1 });
  } else {
    const crossing = crossingOf(points);
    if (crossing >= 0) faults.push({ fault: "crossing", at: crossing });
  }
  const outside = points.findIndex(([x, y]) => x < 0 || y < 0 || x > size[0] || y > size[1]);
  if (outside >= 0) faults.push({ fault: "outside", at: outside });
  return faults;
}

/** Number of the first side of a polygon that cuts a later one; -1 where none does. */
function crossingOf(points: readonly Spot[]): number {
  const side = (at: number): [Spot, Spot] => [points[at]!, points[(at + 1) % points.length]!];
  for (let one = 0; one < points.length; one++) {
    for (let two = one + 1; two < points.length; two++) {
      const areNeighbours = two === one + 1 || (one === 0 && two === points.length - 1);
      if (!areNeighbours && cut(...side(one), ...side(two))) return one;
    }
  }
  return -1;
}

function cut(a: Spot, b: Spot, c: Spot, d: Spot): boolean {
  const [abc, abd, cda, cdb] = [turn(a, b, c), turn(a, b, d), turn(c, d, a), turn(c, d, b)];
  if (abc * abd < 0 && cda * cdb < 0) return true;
  const touches = (along: number, from: Spot, to: Spot, point: Spot) => along === 0 && isBetween(from, to, point);
  return touches(abc, a, b, c) || touches(abd, a, b, d) || touches(cda, c, d, a) || touches(cdb, c, d, b);
}

const turn = (a: Spot, b: Spot, c: Spot) => Math.sign((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]));
const isBetween = (a: Spot, b: Spot, c: Spot) =>
  Math.min(a[0], b[0]) <= c[0] && c[0] <= Math.max(a[0], b[0]) && Math.min(a[1], b[1]) <= c[1] && c[1] <= Math.max(a[1], b[1]);

/** An arrow from the middle of a line to where `in` leads: to the right, looking from its start to its end. */
export function arrowOf([start, end]: readonly [Spot, Spot], reach: number): { from: Spot; tip: Spot; wings: [Spot, Spot] } {
  const [dx, dy] = [end[0] - start[0], end[1] - start[1]];
  const length = Math.hypot(dx, dy) || 1;
  const [rx, ry] = [-dy / length, dx / length];
  const from: Spot = [(start[0] + end[0]) / 2, (start[1] + end[1]) / 2];
  const tip: Spot = [from[0] + rx * reach, from[1] + ry * reach];
  const wing = (side: number): Spot => [
    tip[0] - rx * reach * 0.3 - side * ry * reach * 0.24,
    tip[1] - ry * reach * 0.3 + side * rx * reach * 0.24,
  ];
  return { from, tip, wings: [wing(1), wing(-1)] };
}

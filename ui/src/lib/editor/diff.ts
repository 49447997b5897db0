/** Two texts side by side, line by line: what both have, and what only one has. */

export interface DiffRow {
  mine: { line: number; text: string } | null;
  theirs: { line: number; text: string } | null;
  same: boolean;
}

/** Return the rows of a comparison; lines that both have are those of their longest common sequence. */
export function compared(mine: string, theirs: string): DiffRow[] {
  const [one, two] = [mine.split("\n"), theirs.split("\n")];
  // Length of the longest common sequence of what is left of both, from each pair of lines on.
  const best = Array.from({ length: one.length + 1 }, () => new Uint16Array(two.length + 1));
  for (let a = one.length - 1; a >= 0; a--) {
    for (let b = two.length - 1; b >= 0; b--) {
      best[a]![b] = one[a] === two[b] ? best[a + 1]![b + 1]! + 1 : Math.max(best[a + 1]![b]!, best[a]![b + 1]!);
    }
  }
  const rows: DiffRow[] = [];
  const only = { mine: [] as DiffRow["mine"][], theirs: [] as DiffRow["theirs"][] };
  const flush = () => {
    for (let at = 0; at < Math.max(only.mine.length, only.theirs.length); at++) {
      rows.push({ mine: only.mine[at] ?? null, theirs: only.theirs[at] ?? null, same: false });
    }
    only.mine = [];
    only.theirs = [];
  };
  let [a, b] = [0, 0];
  while (a < one.length || b < two.length) {
    if (a < one.length && b < two.length && one[a] === two[b]) {
      flush();
      rows.push({ mine: { line: a + 1, text: one[a]! }, theirs: { line: b + 1, text: two[b]! }, same: true });
      a++, b++;
    } else if (b >= two.length || (a < one.length && best[a + 1]![b]! >= best[a]![b + 1]!)) {
      only.mine.push({ line: a + 1, text: one[a]! });
      a++;
    } else {
      only.theirs.push({ line: b + 1, text: two[b]! });
      b++;
    }
  }
  flush();
  return rows;
}

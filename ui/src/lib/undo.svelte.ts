/** One thing that was done a moment ago and can be undone: `UndoBar` shows it for ten seconds. */

interface Done {
  text: string;
  undo?: () => void;
}

const FOR_MS = 10_000;
let last: Done | null = $state.raw(null);
let timer = 0;

export function lastDone(): Done | null {
  return last;
}

/** Say what was done; with `undo` it can be taken back. */
export function done(text: string, undo?: () => void): void {
  clearTimeout(timer);
  last = { text, undo };
  timer = window.setTimeout(() => (last = null), FOR_MS);
}

export function forget(): void {
  clearTimeout(timer);
  last = null;
}

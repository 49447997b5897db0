/**
 * The manifest of a case while it is edited. Form, text and picture change the same text.
 *
 * A draft outlives its page: who leaves with unsaved changes finds them when he comes back, until the tab is closed.
 */
import { ApiError, wasLeft } from "../api";
import { checkManifest, readManifest, writeManifest, type Found, type Kept, type Saved } from "./cases";
import { Manifest } from "./manifest";

const CHECK_AFTER_MS = 250;
const ONE_CHANGE_MS = 700; // letters typed one after another are taken back together
const MOST_CHANGES = 200;

export interface Conflict {
  theirs: Kept;
  at: number;
}

export class Draft {
  text = $state("");
  /** What the server had when it was last read or written. */
  saved = $state("");
  writable = $state("yes");
  loaded = $state(false);
  error: unknown = $state.raw(null);
  problems: readonly Found[] = $state.raw([]);
  /** How long the last check took; null while one goes on or none was made. */
  checkMs: number | null = $state(null);
  checkError: unknown = $state.raw(null);
  saving = $state(false);
  conflict: Conflict | null = $state.raw(null);
  readonly manifest = $derived(new Manifest(this.text));
  readonly isChanged = $derived(this.text !== this.saved);
  readonly errors = $derived(this.problems.filter(({ severity }) => severity === "error"));

  #etag: string | null = null;
  #before: string[] = $state([]);
  #after: string[] = $state([]);
  #changedAt = 0;
  #timer = 0;
  #checking: AbortController | null = null;

  constructor(readonly name: string) {}

  get canUndo(): boolean {
    return this.#before.length > 0;
  }

  /** Read the manifest where nothing is unsaved; an edit that was left stays as it is. */
  async load(): Promise<void> {
    if (this.isChanged) return this.check();
    const before = this.text;
    try {
      const kept = await readManifest(this.name);
      if (this.text !== before) return; // an edit, or one taken back, came first: it stays, and saving tells of the other
      this.#take(kept);
      this.error = null;
    } catch (error) {
      if (!wasLeft(error)) this.error = error;
    }
    this.check();
  }

  #take(kept: Kept): void {
    this.#etag = kept.etag;
    this.writable = kept.writable;
    this.saved = this.text = kept.text;
    this.loaded = true;
  }

  /** Change the text; `isTyped`: one of many letters. */
  put(text: string, isTyped = false): void {
    if (text === this.text) return;
    const now = Date.now();
    if (!isTyped || now - this.#changedAt > ONE_CHANGE_MS || !this.#before.length) {
      this.#before.push(this.text);
      if (this.#before.length > MOST_CHANGES) this.#before.shift();
    }
    this.#changedAt = isTyped ? now : 0;
    this.#after = [];
    this.text = text;
    this.check();
  }

  undo(): void {
    this.#step(this.#before, this.#after);
  }

  redo(): void {
    this.#step(this.#after, this.#before);
  }

  #step(from: string[], to: string[]): void {
    const text = from.pop();
    if (text === undefined) return;
    to.push(this.text);
    this.#changedAt = 0;
    this.text = text;
    this.check();
  }

  /** Go back to what the server has. */
  discard(): void {
    this.put(this.saved);
  }

  /** Let the server look at the text, a moment after the last change. */
  check(): void {
    clearTimeout(this.#timer);
    this.#checking?.abort();
    this.checkMs = null; // what was found holds for the text before
    this.#timer = window.setTimeout(() => void this.#check(), CHECK_AFTER_MS);
  }

  async #check(): Promise<void> {
    const checking = (this.#checking = new AbortController());
    const begun = performance.now();
    try {
      this.problems = await checkManifest(this.name, this.text, checking.signal);
      this.checkMs = performance.now() - begun;
      this.checkError = null;
    } catch (error) {
      if (!wasLeft(error)) this.checkError = error;
    }
  }

  /** Write it; null where somebody else was first, which `conflict` tells then. */
  async save(): Promise<Saved | null> {
    const { text } = this;
    this.saving = true;
    try {
      const saved = await writeManifest(this.name, text, this.#etag);
      this.#etag = saved.etag;
      this.saved = text;
      this.conflict = null;
      if (this.writable === "copy") this.writable = "yes";
      return saved;
    } catch (error) {
      if (!(error instanceof ApiError && error.isConflict)) throw error;
      const theirs = await readManifest(this.name);
      if (theirs.etag === this.#etag) throw error; // not because of another text
      this.conflict = { theirs, at: Date.now() };
      return null;
    } finally {
      this.saving = false;
    }
  }

  /** End a conflict with the other text; one's own can still be taken back. */
  takeTheirs(): void {
    const { conflict } = this;
    if (!conflict) return;
    this.#before.push(this.text);
    this.#take(conflict.theirs);
    this.conflict = null;
    this.check();
  }

  /** End a conflict with one's own text: the other is seen, and is to be written over. */
  async overwrite(): Promise<Saved | null> {
    const { conflict } = this;
    if (!conflict) return null;
    this.#etag = conflict.theirs.etag;
    this.saved = conflict.theirs.text;
    this.conflict = null;
    return this.save();
  }
}

const drafts = new Map<string, Draft>();

/** The draft of a case: the same one each time. */
export function draftOf(name: string): Draft {
  const draft = drafts.get(name) ?? new Draft(name);
  drafts.set(name, draft);
  return draft;
}

/** Names of the cases with unsaved changes. */
export const unsaved = (): string[] => [...drafts.values()].filter(({ isChanged }) => isChanged).map(({ name }) => name);

addEventListener("beforeunload", (event) => {
  if (unsaved().length) event.preventDefault();
});

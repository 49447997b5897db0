/** The cases of the server and what is done to them. */
import { announce } from "../../lib/announce.svelte";
import { api, ApiError, ask, wasLeft, type Schemas } from "../../lib/api";
import { t } from "../../lib/i18n.svelte";
import type { Look } from "../../lib/state";
import { done } from "../../lib/undo.svelte";

/** `safe_mode`: it was to be served, and is as soon as it has been mended. */
export type Case = Schemas["CaseShape"] & { safe_mode?: boolean };
const EVERY_MS = 3000;

let list: Case[] = $state.raw([]);
let error: unknown = $state.raw(null);
let loaded = $state(false);
let users = 0;
let timer = 0;

export const cases = {
  get list(): readonly Case[] {
    return list;
  },
  get error(): unknown {
    return error;
  },
  get loaded(): boolean {
    return loaded;
  },
  look,
};

/** Keep the list fresh while a component lives. */
export function useCases(): void {
  $effect(() => {
    users++;
    void look();
    return () => {
      if (--users === 0) clearTimeout(timer);
    };
  });
}

async function look(): Promise<void> {
  clearTimeout(timer);
  if (!document.hidden) {
    try {
      list = await api.all("/api/v1/cases");
      error = null;
      loaded = true;
    } catch (problem) {
      if (!wasLeft(problem)) error = problem;
    }
  }
  if (users) timer = window.setTimeout(() => void look(), EVERY_MS);
}

/** False for a case that takes jobs alone. */
export function canStream(name: string): boolean {
  return list.find((each) => each.name === name)?.streams ?? true;
}

export function caseLook({ running, problems }: Case): Look {
  if (running.length) return { word: "run.running", role: "live", icon: "play" };
  if (problems.length) return { word: "cases.state.problems", role: "bad", icon: "warn" };
  return { word: "cases.state.idle", role: "stopped", icon: "stop" };
}

/** Do something to a case; what is refused is told. Gives true where it was done. */
export async function act(what: () => Promise<unknown>, text = "", undo?: () => void): Promise<boolean> {
  try {
    await what();
    if (text) {
      done(text, undo);
      announce(text);
    }
    return true;
  } catch (problem) {
    const told = problem instanceof ApiError ? `${problem.message} ${problem.cure}`.trim() : String(problem);
    announce(told, "assertive");
    done(told);
    return false;
  } finally {
    void look();
  }
}

export const start = (name: string) =>
  act(() => api.post("/api/v1/runs", { body: { case: name, stands: true } as Schemas["RunWish"], timeoutS: 60 }), t("cases.started", { name }));

export const stop = (name: string, runs: readonly string[]) =>
  act(() => Promise.all(runs.map((run) => api.post("/api/v1/runs/{run}/stop", { path: { run } }))), t("cases.stopped", { name }), () => void start(name));

/** End the runs of a case, and start it as it is written now. */
export async function restart(name: string, runs: readonly string[]): Promise<boolean> {
  return act(async () => {
    for (const run of runs) await ask("post", "/api/v1/runs/{run}/restart", { path: { run }, timeoutS: 60 });
  }, t("cases.restarted", { name }));
}

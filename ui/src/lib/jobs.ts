/** What the record of a job says: how far it is, its steps, and the files that it made. */
import { api, ask, type Schemas } from "./api";

export type Run = Schemas["RunShape"];
export interface Step {
  name: string;
  state: "done" | "running" | "waiting";
  seconds?: number | null;
  peak_mb?: number | null;
}
export interface Made {
  word: string;
  key: string;
  num_bytes: number | null;
  media_type: string;
}
export interface Job {
  /** 0 to 1. */
  progress: number;
  stage: string;
  message: string;
  attempt: number;
  steps: readonly Step[];
  files: readonly Made[];
  /** Key of what it works on. */
  object: string;
  parameters: Readonly<Record<string, unknown>>;
  /** 1: the next that is taken; 0 and null: it does not wait. */
  position: number | null;
  /** Until it is taken; null: nobody knows. */
  waitS: number | null;
  /** When it is tried again; null: as soon as somebody is free. */
  due: string | null;
}

export const isJob = ({ kind }: Run): boolean => kind === "job";

export function jobOf(run: Run): Job {
  const { status, spec, queue } = run;
  const files = Object.entries((status["files"] ?? {}) as Record<string, Omit<Made, "word">>);
  return {
    progress: numberOf(status["progress"]) ?? (run.state === "completed" ? 1 : 0),
    stage: String(status["stage"] ?? ""),
    message: String(status["message"] ?? ""),
    attempt: numberOf(status["attempt"]) ?? 0,
    steps: Array.isArray(status["steps"]) ? (status["steps"] as Step[]) : [],
    files: files.map(([word, file]) => ({ ...file, word })),
    object: String(spec["object"] ?? ""),
    parameters: (spec["parameters"] ?? {}) as Record<string, unknown>,
    position: queue?.position ?? null,
    waitS: queue?.expected_wait_s ?? null,
    due: run.due,
  };
}

const numberOf = (value: unknown): number | null => (typeof value === "number" ? value : null);

const parts = (key: string): string => key.split("/").map(encodeURIComponent).join("/");
export const filePath = (run: string, word: string): string => `/api/v1/runs/${encodeURIComponent(run)}/files/${parts(word)}`;
export const objectPath = (key: string): string => `/api/v1/objects/${parts(key)}`;

/** What is submitted; the rest is as the case has it. */
export type Wish = Pick<Schemas["JobWish"], "case" | "object"> & Partial<Schemas["JobWish"]>;

/** Submit a job; the same `key` again gives the same job. */
export async function submit(wish: Wish, key: string): Promise<Run> {
  const answer = await ask("post", "/api/v1/runs", { body: wish, headers: { "Idempotency-Key": key } });
  return (await answer.json()) as Run;
}

/** Let a job that failed or was cancelled begin again; the steps that are done stay done. */
export async function retry(run: string): Promise<void> {
  await api.post("/api/v1/runs/{run}/retry", { path: { run } });
}

/** No new step of it begins, and the one under way is told. */
export async function cancel(run: string): Promise<void> {
  await api.post("/api/v1/runs/{run}/cancel", { path: { run } });
}

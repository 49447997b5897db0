/** The result of a medical job: `docs/reference/result-json.md` says what its members mean. */
import { ask } from "../../lib/api";
import { filePath, type Job } from "../../lib/jobs";

export interface Finding {
  id: string;
  type: string;
  /** mm3. */
  volume: number;
  confidence: number;
  /** Voxels of the input's grid. */
  location?: { x: number; y: number; z: number };
  touches_border?: boolean;
}
export interface Metric {
  name: string;
  value: number | null;
  description: string;
  unit?: string;
}
export interface Problem {
  code: string;
  message: string;
  severity: string;
  slices?: number[];
}
export interface Result {
  summary?: { total_volume?: number; lesions_count?: number; confidence?: number; processing_time?: number };
  findings?: Finding[];
  metrics?: Metric[];
  segmentation?: { dimensions?: number[]; spacing?: number[]; orientation?: string; labels?: { value: number; name: string }[] };
  study?: {
    container?: string;
    modality?: string;
    orientation?: string;
    series?: { description?: string; number?: number };
    rest?: { series?: string; description?: string; num_files?: number; reason?: string }[];
  };
  problems?: Problem[];
  provenance?: {
    models?: { model?: string; digest?: string; licence?: string }[];
    profile?: Record<string, unknown>;
    code?: string;
    input?: { object?: string; digest?: string };
    started?: string;
    finished?: string;
  };
}

export async function readResult(run: string, job: Job, signal: AbortSignal): Promise<Result | null> {
  if (!job.files.some(({ word }) => word === "json")) return null;
  return (await (await ask("get", filePath(run, "json"), { signal, timeoutS: 120 })).json()) as Result;
}

/** What the mask was made at: the job's own threshold, else that of its profile. */
export function thresholdOf(result: Result | null, job: Job): number | null {
  for (const value of [job.parameters["threshold"], result?.provenance?.profile?.["threshold"]]) {
    if (typeof value === "number") return value;
  }
  return null;
}

/** Greys that are shown: from black to white, in the units of the modality. */
export interface Greys {
  id: string;
  low: number;
  high: number;
}

/** Usual windows of computed tomography in HU, as width / centre: 1500 / -600, 2000 / 400, 400 / 40, 80 / 40. */
export const CT: readonly Greys[] = [
  { id: "lung", low: -1350, high: 150 },
  { id: "bone", low: -600, high: 1400 },
  { id: "soft", low: -160, high: 240 },
  { id: "brain", low: 0, high: 80 },
];

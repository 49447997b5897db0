/** States of cameras and runs: word, colour role and icon, always all three. */
import type { IconName } from "./icons";

export type Role = "live" | "stalled" | "backoff" | "bad" | "stopped" | "conn";
export interface Look {
  /** Key of the word. */
  word: string;
  role: Role;
  icon: IconName;
}

const CAMERA: Record<string, Look> = {
  connecting: { word: "state.connecting", role: "conn", icon: "ring" },
  live: { word: "state.live", role: "live", icon: "dot" },
  stalled: { word: "state.stalled", role: "stalled", icon: "clock" },
  frozen: { word: "state.frozen", role: "stalled", icon: "clock" },
  backoff: { word: "state.backoff", role: "backoff", icon: "retry" },
  unauthorised: { word: "state.unauthorised", role: "bad", icon: "lock" },
  stopped: { word: "state.stopped", role: "stopped", icon: "stop" },
};

const RUN: Record<string, Look> = {
  submitted: { word: "run.submitted", role: "stopped", icon: "clock" },
  running: { word: "run.running", role: "conn", icon: "play" },
  retrying: { word: "run.retrying", role: "backoff", icon: "retry" },
  completed: { word: "run.completed", role: "live", icon: "check" },
  failed: { word: "run.failed", role: "bad", icon: "warn" },
  cancelled: { word: "run.cancelled", role: "stopped", icon: "x" },
};

const UNKNOWN: Look = { word: "state.unknown", role: "stopped", icon: "ring" };

export const cameraLook = (state: string): Look => CAMERA[state] ?? UNKNOWN;
export const runLook = (state: string): Look => RUN[state] ?? UNKNOWN;
/** Roles in the order of a summary: what is well first. */
export const CAMERA_STATES = Object.keys(CAMERA);

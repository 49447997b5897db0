/** What can be done to a camera. */
import { announce } from "../../lib/announce.svelte";
import { api, ApiError, type Schemas } from "../../lib/api";
import { cameras, type Camera } from "../../lib/cameras.svelte";
import { t } from "../../lib/i18n.svelte";
import { done } from "../../lib/undo.svelte";

const HIDDEN = "***"; // where a password stood: such an entry cannot be sent back

/** True when the whole entry is known, so that the source can be opened anew with it. */
export const isWhole = (camera: Camera) => !!camera.entry?.use && !JSON.stringify(camera.entry).includes(HIDDEN);

/** Sorts cases: those that do the most come first. */
export function richest(a: Schemas["CaseShape"], b: Schemas["CaseShape"]): number {
  const steps = (each: Schemas["CaseShape"]) => Object.values(each.stages).flat().length;
  return steps(b) - steps(a) || a.name.localeCompare(b.name);
}

function refused(error: unknown): void {
  const text = error instanceof ApiError ? `${error.message} ${error.cure}` : String(error);
  announce(text, "assertive");
  done(text);
}

/** Open a source anew, now. */
export async function reconnect(camera: Camera): Promise<void> {
  if (camera.ended) return restart(camera);
  const path = { run: camera.run, source: camera.source };
  try {
    await api.post("/api/v1/runs/{run}/sources/{source}/reconnect", { path });
    cameras.look();
  } catch (error) {
    refused(error);
  }
}

/** Run anew what has ended: the case, with the sources that the run had. */
export async function restart(camera: Camera): Promise<void> {
  const all = cameras.list.filter((each) => each.run === camera.run);
  if (!all.every(isWhole)) return done(t("live.reconnect.hidden"));
  try {
    const sources = Object.fromEntries(all.map((each) => [each.source, each.entry ?? {}]));
    await api.post("/api/v1/runs", { body: { case: camera.case, sources } as Schemas["RunWish"] });
    cameras.look();
  } catch (error) {
    refused(error);
  }
}

/** Read a source no longer; it can be taken back for ten seconds where its whole entry is known. */
export async function remove(camera: Camera): Promise<void> {
  const { run, source, entry } = camera;
  try {
    await api.delete("/api/v1/runs/{run}/sources/{source}", { path: { run, source } });
  } catch (error) {
    return refused(error);
  }
  cameras.look();
  const back = async () => {
    try {
      await api.post("/api/v1/runs/{run}/sources", { path: { run }, body: { id: source, source: entry ?? {} } });
      cameras.look();
    } catch (error) {
      refused(error);
    }
  };
  done(t("live.removed", { source }), isWhole(camera) ? () => void back() : undefined);
}

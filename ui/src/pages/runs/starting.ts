/** Runs that are begun once more, with what the record says was wanted. */
import { api, ApiError, ask, type Schemas } from "../../lib/api";
import { t } from "../../lib/i18n.svelte";
import { hasSecrets, isOver, type Run } from "./facts";

const PATIENCE_MS = 30_000;

/** Start another run of the same case over the same sources. */
export function again(run: Run): Promise<Run> {
  if (hasSecrets(run)) throw new ApiError(0, "runs.hidden", t("runs.hidden"), t("runs.hidden.cure"));
  const { sources, stands } = run.spec as { sources?: Schemas["RunWish"]["sources"]; stands?: boolean };
  const wish = { case: run.case, metadata: run.metadata, ...(sources ? { sources } : {}), ...(stands ? { stands } : {}) };
  return api.post("/api/v1/runs", { body: wish as Schemas["RunWish"] });
}

/** Begin a run anew under its id; a server that cannot do that stops it and starts another one. */
export async function restart(run: Run): Promise<Run> {
  try {
    return (await (await ask("post", "/api/v1/runs/{run}/restart", { path: { run: run.id }, timeoutS: 60 })).json()) as Run;
  } catch (error) {
    if (!(error instanceof ApiError) || ![404, 405].includes(error.status)) throw error;
  }
  if (hasSecrets(run)) throw new ApiError(0, "runs.hidden", t("runs.hidden"), t("runs.hidden.cure"));
  await api.post("/api/v1/runs/{run}/stop", { path: { run: run.id } });
  const end = Date.now() + PATIENCE_MS;
  let now = run;
  while (!isOver(now)) {
    if (Date.now() > end) throw new ApiError(0, "runs.slow", t("runs.slow"), t("runs.slow.cure"));
    await new Promise((resolve) => setTimeout(resolve, 300));
    now = await api.get("/api/v1/runs/{run}", { path: { run: run.id } });
  }
  return again(now);
}

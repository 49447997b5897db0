/** Whether the server answers, asked for every few seconds, and what it is. */

interface Health {
  version: string;
  models?: string[];
}

const EVERY_MS = 5000;

export const server = $state({
  /** False once it has not answered. */
  answers: true,
  version: "",
  models: 0,
  /** When it last answered, on the clock of `Date.now()`. */
  seen: 0,
});

/** Look after the server until the returned function is called. */
export function watchServer(): () => void {
  let timer = 0;
  const look = async () => {
    if (!document.hidden) {
      try {
        const answer = await fetch("/health", { signal: AbortSignal.timeout(EVERY_MS) });
        const health = (await answer.json()) as Health;
        Object.assign(server, { answers: true, version: health.version, models: health.models?.length ?? 0, seen: Date.now() });
      } catch {
        server.answers = false;
      }
    }
    timer = window.setTimeout(look, EVERY_MS);
  };
  void look();
  return () => clearTimeout(timer);
}

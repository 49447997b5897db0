/** Why a source is as it is, in the language of the user; what the server says otherwise stays as it is. */
import { number } from "./format";
import { t } from "./i18n.svelte";

const CAUSES: readonly [RegExp, string][] = [
  [/^connection refused$/, "cause.refused"],
  [/^no answer in time$/, "cause.late"],
  [/^it refuses the user name or password$/, "cause.password"],
  [/^it forbids access$/, "cause.forbidden"],
  [/^it has no such path$/, "cause.path"],
  [/^what it sends is not a video that can be read$/, "cause.unreadable"],
  [/^the stream ended$/, "cause.ended"],
  [/^no packet for ([\d.]+) s$/, "cause.packet"],
  [/^no frame for ([\d.]+) s$/, "cause.frame"],
  [/^packets come, but for ([\d.]+) s none could be decoded$/, "cause.undecoded"],
  [/^the same picture for ([\d.]+) s$/, "cause.frozen"],
  [/^stopped$/, "cause.stopped"],
  [/^the run was stopped$/, "cause.run"],
  [/^the run is over$/, "cause.run.over"],
  [/^the process was killed$/, "cause.killed"],
  [/^the source was removed$/, "cause.removed"],
  [/^the source was changed$/, "cause.changed"],
  [/^the source was stuck$/, "cause.stuck"],
  [/^the source began anew$/, "cause.anew"],
  [/^(?:end of (?:frames|files|file)|the source has ended)$/, "cause.over"],
];
const LOST = "the source was lost: ";

/** A sentence with its stop; empty where there is no cause. */
export function causeText(reason: string): string {
  if (reason.startsWith(LOST)) return t("cause.lost", { why: causeText(reason.slice(LOST.length)) });
  for (const [pattern, key] of CAUSES) {
    const found = pattern.exec(reason);
    if (found) return t(key, { seconds: number(Number(found[1] ?? 0)) });
  }
  return reason && `${reason[0]!.toUpperCase()}${reason.slice(1)}${/[.!?]$/.test(reason) ? "" : "."}`;
}

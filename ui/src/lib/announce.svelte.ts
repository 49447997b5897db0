/** What a screen reader is told: changes of state politely, errors at once. */

const told = $state({ polite: "", assertive: "" });

export function announced(): { polite: string; assertive: string } {
  return told;
}

export function announce(text: string, how: "polite" | "assertive" = "polite"): void {
  told[how] = "";
  // The same words twice are two messages: the region has to be empty between them.
  setTimeout(() => (told[how] = text), 30);
}

// Light or dark: the user's choice, or the setting of the system.

import { effect } from "@preact/signals";
import { remember, remembered } from "./memory";
import type { State } from "./state";

const KEY = "gatewright-theme";

/** Keep `state.dark` and the element's `data-theme` up to date; returns a function that stops it. */
export function keepTheme(state: State, element: HTMLElement): () => void {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const known = remembered(KEY);
  if (known === "light" || known === "dark") state.theme.value = known;
  const follow = () => {
    const { value } = state.theme;
    state.dark.value = value === "auto" ? system.matches : value === "dark";
    element.dataset.theme = state.dark.value ? "dark" : "light";
  };
  system.addEventListener("change", follow);
  const stop = effect(() => {
    remember(KEY, state.theme.value === "auto" ? "" : state.theme.value);
    follow();
  });
  return () => {
    stop();
    system.removeEventListener("change", follow);
  };
}

// Light or dark: what the person chose, or what the system asks for.

import { effect } from "@preact/signals";
import type { State } from "./state";

const KEY = "gatewright-theme";

/** Keep `state.dark` and the element's `data-theme` right; returns a function that ends it. */
export function keepTheme(state: State, element: HTMLElement): () => void {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const known = remembered();
  if (known === "light" || known === "dark") state.theme.value = known;
  const follow = () => {
    const { value } = state.theme;
    state.dark.value = value === "auto" ? system.matches : value === "dark";
    element.dataset.theme = state.dark.value ? "dark" : "light";
  };
  system.addEventListener("change", follow);
  const stop = effect(() => {
    remember(state.theme.value);
    follow();
  });
  return () => {
    stop();
    system.removeEventListener("change", follow);
  };
}

// A page from a file, or a sandboxed frame, may have no storage: then the choice lasts as long as the page.
function remembered(): string | null {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

function remember(theme: string): void {
  try {
    if (theme === "auto") localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, theme);
  } catch {
    return;
  }
}

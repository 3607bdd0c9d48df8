// Choices that the browser stores. A page from a file, or a sandboxed frame, may have no storage: then a
// choice lasts as long as the page.

export function remembered(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

/** Store a choice; "" removes it. */
export function remember(key: string, choice: string): void {
  try {
    if (choice) localStorage.setItem(key, choice);
    else localStorage.removeItem(key);
  } catch {
    return;
  }
}

import { useEffect, useState } from "preact/hooks";
import type { State } from "../state";

/**
 * What a promise gave. While the next one is on its way the old value stays, so that nothing flashes; an answer
 * that comes after `keys` have changed is dropped, and an error becomes `state.trouble`.
 */
export function useLoaded<T>(
  state: State,
  load: () => Promise<T> | null,
  keys: readonly unknown[],
): T | undefined {
  const [value, setValue] = useState<T | undefined>(undefined);
  useEffect(() => {
    let current = true;
    load()?.then(
      // A value may be a function, which setState would call.
      (loaded) => current && setValue(() => loaded),
      (error: Error) => current && (state.trouble.value = error.message),
    );
    return () => {
      current = false;
    };
  }, keys);
  return value;
}

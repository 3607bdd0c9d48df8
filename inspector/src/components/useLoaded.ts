import { useEffect, useRef, useState } from "preact/hooks";
import type { State } from "../state";

/** The value of a promise, and the progress of the latest one. */
export interface Loaded<T> {
  value: T | undefined;
  loading: boolean;
  /** The error message of a failed load; "" without one. */
  failed: string;
}

/**
 * The value of a promise. While the next one is loading, the old value stays, so that nothing flashes; a response
 * that arrives after `keys` have changed is dropped, and an error becomes `state.trouble`. `state.retry` repeats
 * all loads that failed.
 */
export function useLoading<T>(state: State, load: () => Promise<T> | null, keys: readonly unknown[]): Loaded<T> {
  const [loaded, setLoaded] = useState<Loaded<T>>({ value: undefined, loading: true, failed: "" });
  const attempt = state.attempt.value;
  // The attempt that failed last, and that of this load: what is loaded already is not requested again.
  const failedAt = useRef(-1);
  const belongs = useRef(0);
  if (failedAt.current >= 0 && failedAt.current < attempt) belongs.current = attempt;
  useEffect(() => {
    let current = true;
    failedAt.current = -1;
    const promise = load();
    setLoaded((last) => ({ ...last, loading: promise !== null, failed: "" }));
    promise?.then(
      (value) => current && setLoaded({ value, loading: false, failed: "" }),
      (error: Error) => {
        if (!current) return;
        failedAt.current = state.attempt.peek();
        setLoaded((last) => ({ ...last, loading: false, failed: error.message }));
        state.trouble.value = error.message;
      },
    );
    return () => {
      current = false;
    };
  }, [...keys, belongs.current]);
  return loaded;
}

/** The value of `useLoading` alone; undefined until it is loaded. */
export function useLoaded<T>(
  state: State,
  load: () => Promise<T> | null,
  keys: readonly unknown[],
): T | undefined {
  return useLoading(state, load, keys).value;
}

import { useEffect, useRef, useState } from "preact/hooks";
import type { State } from "../state";

/** What a promise gave, and how the last one fares. */
export interface Loaded<T> {
  value: T | undefined;
  loading: boolean;
  /** Why there is no new value, in a sentence; "" for no reason. */
  failed: string;
}

/**
 * What a promise gave. While the next one is on its way the old value stays, so that nothing flashes; an answer
 * that comes after `keys` have changed is dropped, and an error becomes `state.trouble`. `state.retry` asks again
 * for all that failed.
 */
export function useLoading<T>(state: State, load: () => Promise<T> | null, keys: readonly unknown[]): Loaded<T> {
  const [loaded, setLoaded] = useState<Loaded<T>>({ value: undefined, loading: true, failed: "" });
  const attempt = state.attempt.value;
  // The attempt that failed last, and the one that this load belongs to: what has come is not asked for again.
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

/** As `useLoading`, for what may be absent until it is there. */
export function useLoaded<T>(
  state: State,
  load: () => Promise<T> | null,
  keys: readonly unknown[],
): T | undefined {
  return useLoading(state, load, keys).value;
}

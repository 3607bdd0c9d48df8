import type { State } from "../state";
import type { Loaded } from "./useLoaded";
import "./Waiting.css";

interface Props {
  state: State;
  /** What is being loaded, such as "the map". */
  what: string;
  loaded: Pick<Loaded<unknown>, "failed">;
  /** Class that gives the placeholder its size. */
  place: string;
}

/** A placeholder for what is being loaded or could not be loaded. */
export function Waiting({ state, what, loaded: { failed }, place }: Props) {
  if (!failed)
    return (
      <div class={`gw-skeleton gw-waits ${place}`} role="status">
        <span>Loading {what} …</span>
      </div>
    );
  return (
    <div class={`gw-waits gw-failed ${place}`} role="alert">
      <Failed state={state} what={what} failed={failed} />
    </div>
  );
}

interface CoverProps {
  state: State;
  what: string;
  loaded: Pick<Loaded<unknown>, "loading" | "failed">;
}

/** A cover over outdated content, while the new content is being loaded or could not be loaded. */
export function Cover({ state, what, loaded: { loading, failed } }: CoverProps) {
  if (failed)
    return (
      <div class="gw-cover gw-waits gw-failed" role="alert" data-still>
        <Failed state={state} what={what} failed={failed} />
      </div>
    );
  if (!loading) return null;
  return (
    <div class="gw-cover gw-waits gw-late" role="status" data-still>
      <span>Loading {what} …</span>
    </div>
  );
}

function Failed({ state, what, failed }: { state: State; what: string; failed: string }) {
  return (
    <>
      <p>
        <strong>{what.charAt(0).toUpperCase() + what.slice(1)} could not be loaded.</strong> {failed}
      </p>
      <button type="button" class="gw-button" onClick={() => state.retry()}>
        Retry
      </button>
    </>
  );
}

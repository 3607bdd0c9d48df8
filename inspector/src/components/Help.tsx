import { useEffect, useRef } from "preact/hooks";
import type { State, View } from "../state";
import { VIEW_NAMES } from "./Header";
import { useDismiss } from "./useDismiss";

const VIEWS: Record<View, string> = {
  timeline:
    "The data above, and below it every unit of the layer at every step. Colour is the size of the part you " +
    "choose: a gate, the cell state, or how much of a write still stands.",
  cell:
    "One step of the cell, drawn as its equations run, with the numbers of the chosen unit. Step on and watch " +
    "what the gates let through.",
  ledger:
    "Where the cell state of a unit comes from: what each earlier step wrote, and how much the forget gates have " +
    "since left of it. The parts add up to the cell state exactly.",
  units:
    "All units of the layer side by side: how long each remembers, how its gates stand, how active it is. Units " +
    "that do nothing are named, with what to try.",
  whatif:
    "Hold a gate at a value, silence units or set a cell state by hand, and run the sequence again. The " +
    "difference shows what that part was good for.",
};

const KEYS: [string[], string][] = [
  [["←", "→"], "one step, with shift ten"],
  [["↑", "↓"], "one unit, with shift ten"],
  [["home", "end"], "first or last step"],
  [["+", "−"], "zoom about the chosen step"],
  [["1", "…", "5"], "views"],
  [["space"], "play, in the Cell view"],
  [["?"], "this help"],
];

const POINTER: [string, string][] = [
  ["wheel", "zoom steps"],
  ["ctrl or shift + wheel", "zoom units"],
  ["drag", "move along"],
  ["double click", "see all"],
  ["click", "choose step and unit"],
  ["shift + click", "choose one more unit"],
];

export function Help({ state }: { state: State }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const open = state.help.value;
  const close = () => (state.help.value = false);
  useEffect(() => {
    if (open) dialog.current?.show();
    else dialog.current?.close();
  }, [open]);
  useDismiss(dialog, open, close);
  return (
    <dialog ref={dialog} class="gw-help" aria-label="Help" onClose={close}>
      {open && (
        <>
          <div class="gw-help-head">
            <h2>What you can see here</h2>
            <button type="button" class="gw-button gw-button-quiet" onClick={close}>
              Close
            </button>
          </div>
          <dl class="gw-help-views">
            {(Object.keys(VIEWS) as View[]).map((view) => (
              <div key={view}>
                <dt>{VIEW_NAMES[view]}</dt>
                <dd>{VIEWS[view]}</dd>
              </div>
            ))}
          </dl>
          <div class="gw-help-keys">
            <dl>
              {KEYS.map(([keys, what]) => (
                <div key={what}>
                  <dt>{keys.map((key) => (key === "…" ? "…" : <kbd key={key}>{key}</kbd>))}</dt>
                  <dd>{what}</dd>
                </div>
              ))}
            </dl>
            <dl>
              {POINTER.map(([gesture, what]) => (
                <div key={gesture}>
                  <dt>{gesture}</dt>
                  <dd>{what}</dd>
                </div>
              ))}
            </dl>
          </div>
        </>
      )}
    </dialog>
  );
}

import { useEffect, useRef } from "preact/hooks";
import type { State, View } from "../state";
import { VIEW_NAMES } from "./Header";
import { useDismiss } from "./useDismiss";

const VIEWS: Record<View, string> = {
  timeline:
    "The data above, and below it every unit of the layer at every step. Colour is the size of the part you " +
    "choose: a gate, the cell state, or the part of each write that is left.",
  cell:
    "One step of the cell, drawn in the order of its equations, with the numbers of the chosen unit. Step through " +
    "the sequence to see what the gates let through.",
  ledger:
    "What a unit's cell state consists of: what each earlier step wrote, and how much of it later steps " +
    "have kept since. The parts add up to the cell state exactly.",
  units:
    "All units of the layer compared: how long each remembers, how open its gates are, how active it is. Units " +
    "that do nothing are listed, with advice.",
  whatif:
    "Hold a gate at a value, ablate units or set a cell state by hand, and run the sequence again. The " +
    "difference shows what that part contributes.",
};

const KEYS: [string[], string][] = [
  [["←", "→"], "one step, with shift ten"],
  [["↑", "↓"], "one unit, with shift ten"],
  [["home", "end"], "first or last step"],
  [["+", "−"], "zoom around the chosen step"],
  [["1", "…", "5"], "views"],
  [["space"], "play, in the Cell view"],
  [["?"], "this help"],
];

const POINTER: [string, string][] = [
  ["wheel", "zoom steps"],
  ["ctrl or shift + wheel", "zoom units"],
  ["drag", "move"],
  ["double click", "show all"],
  ["click", "choose step and unit"],
  ["shift + click", "add a unit to the chosen ones"],
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
            <h2>What each view shows</h2>
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

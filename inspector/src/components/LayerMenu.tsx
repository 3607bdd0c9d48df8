// The menu of layers: those of the shown recording, or of all recordings of a module.

import { batch } from "@preact/signals";
import type { Entry } from "../data/types";
import type { State } from "../state";
import { Choice } from "./Choice";

interface Option {
  /** Id of the recording; that which is shown, where it is not of a module. */
  id: string;
  layer: number;
  text: string;
}

export function LayerMenu({ state }: { state: State }) {
  const meta = state.recording.value?.meta;
  if (!meta) return null;
  const modules = state.entries.value.filter(({ name }) => name);
  const options = modules.some(({ id }) => id === meta.id)
    ? modules.flatMap(optionsOf)
    : meta.layers.map(({ hidden }, layer) => ({ id: meta.id, layer, text: `Layer ${layer} · ${hidden} units` }));
  if (options.length < 2) return null;
  const wanted = state.wanted.value ?? meta.id;
  return (
    <Choice
      name="Layer"
      options={options.map(({ text }) => text)}
      chosen={options.findIndex(({ id, layer }) => id === wanted && layer === state.layer.value)}
      choose={(k) => pick(state, options[k])}
    />
  );
}

function optionsOf({ id, name, layers }: Entry): Option[] {
  const several = layers.length > 1;
  return layers.map((units, layer) => ({
    id,
    layer,
    text: `${name}${several ? `, layer ${layer}` : ""} · ${units} units`,
  }));
}

function pick(state: State, { id, layer }: Option): void {
  if (id === state.recording.value?.meta.id && state.wanted.value === null) pickLayer(state, layer);
  else {
    // Another layer may have another number of steps: all of them are in sight.
    state.aimAt({ layer, range: [0, Infinity] });
    void state.show(id);
  }
}

function pickLayer(state: State, layer: number): void {
  batch(() => {
    state.layer.value = layer;
    const { hidden, directions } = state.shape.value!;
    if (!directions.includes(state.direction.value)) state.direction.value = directions[0];
    const kept = state.units.value.filter((unit) => unit < hidden);
    state.units.value = kept.length ? kept : [0];
  });
}

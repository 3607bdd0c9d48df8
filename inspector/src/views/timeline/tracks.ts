// Lines above the heat-map: columns of a table, or inputs and outputs of a stack of layers.

import type { Values } from "../../components/Lines";
import type { Recording } from "../../data/recording";
import type { Numbers } from "../../data/source";

export interface Track {
  name: string;
  block: string;
  column: number;
  width: number;
}

/** All data of a recording with one number for each step. */
export function tracksOf(recording: Recording): Track[] {
  const { series, inputs, kind, layers, readouts } = recording.meta;
  if (series) return named(series.columns, "columns");
  if (kind !== "layers") return [];
  const last = layers[layers.length - 1];
  const width = last.output * last.directions.length;
  const outputs = readouts.length === width ? readouts : Array.from({ length: width }, (_, k) => `output ${k}`);
  return [...named(inputs, "inputs"), ...named(outputs, "output")];
}

function named(names: string[], block: string): Track[] {
  return names.map((name, column) => ({ name, block, column, width: names.length }));
}

/** One column of (T, width) as a line; missing values are gaps. */
export function lineOf(table: Numbers, column: number, width: number): Values {
  return Array.from({ length: table.length / width }, (_, t) => known(table[t * width + column]));
}

export function known(value: number): number | null {
  return Number.isNaN(value) ? null : value;
}

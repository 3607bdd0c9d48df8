// Lines above the heat-map: columns of a table, or inputs and outputs of a stack of layers.

import type { Values } from "../../components/Lines";
import type { Recording } from "../../data/recording";
import type { Numbers } from "../../data/source";
import type { Meta } from "../../data/types";

export interface Track {
  name: string;
  block: string;
  column: number;
  width: number;
}

/** All data of a recording with one number for each step. */
export function tracksOf(recording: Recording): Track[] {
  const { series, inputs, kind } = recording.meta;
  if (series) return named(series.columns, "columns");
  if (kind !== "layers") return [];
  return [...named(inputs, "inputs"), ...named(outputNames(recording.meta), "output")];
}

/** Names of the outputs of a stack of layers or of a classifier. */
export function outputNames({ outputs, blocks }: Meta): string[] {
  const width = blocks[0].output.shape[1];
  return outputs.length ? outputs : Array.from({ length: width }, (_, k) => `output ${k}`);
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

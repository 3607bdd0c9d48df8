/** Rows in sight, from (inclusive) to (exclusive); not whole numbers while zooming. */
export type RowRange = [number, number];

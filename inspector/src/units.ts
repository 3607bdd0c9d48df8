// Lists of units as text, such as "3, 7, 10-14" or "all", and back.

/** Whether a text lists units by number, rather than by label. */
export function namesUnits(text: string): boolean {
  return /^(all|[\d\s,–-]+)$/i.test(text.trim());
}

/** The units that a text lists, in order; throws an error of one sentence for no units or for unknown ones. */
export function unitsOf(text: string, hidden: number): number[] {
  const wanted = text.trim().toLowerCase();
  if (wanted === "all") return Array.from({ length: hidden }, (_, unit) => unit);
  const parts = wanted.split(/[\s,]+/).filter(Boolean);
  if (!parts.length) throw new Error("Name the units, such as “3, 7, 10-14”, or write “all”.");
  const units = new Set<number>();
  for (const part of parts) {
    const range = /^(\d+)(?:[-–](\d+))?$/.exec(part);
    if (!range) throw new Error(`“${part}” is not a unit: write numbers such as “3, 7, 10-14”, or “all”.`);
    const first = Number(range[1]);
    const last = Number(range[2] ?? range[1]);
    if (last < first) throw new Error(`“${part}” runs backwards: write “${last}-${first}”.`);
    if (last >= hidden) throw new Error(`There is no unit ${last}: this layer has units 0 to ${hidden - 1}.`);
    for (let unit = first; unit <= last; unit++) units.add(unit);
  }
  return [...units].sort((a, b) => a - b);
}

/** Units as text, with runs of three and more as ranges. */
export function unitsText(units: readonly number[]): string {
  const ordered = [...new Set(units)].sort((a, b) => a - b);
  const parts: string[] = [];
  for (let k = 0; k < ordered.length; ) {
    let end = k;
    while (ordered[end + 1] === ordered[end] + 1) end++;
    if (end - k < 2) end = k;
    parts.push(end > k ? `${ordered[k]}-${ordered[end]}` : String(ordered[k]));
    k = end + 1;
  }
  return parts.join(", ");
}

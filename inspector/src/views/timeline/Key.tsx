import type { ComponentChildren } from "preact";

/** The legend of a panel. */
export function Key({ children }: { children: ComponentChildren }) {
  return <span class="gw-timeline-key">{children}</span>;
}

interface KeyEntryProps {
  name: string;
  /** A token, such as "--gw-truth". */
  color: string;
  shape?: "line" | "dashed" | "band";
  title?: string;
}

export function KeyEntry({ name, color, shape = "line", title }: KeyEntryProps) {
  return (
    <span title={title}>
      <i class="gw-timeline-key-mark" data-shape={shape} style={{ color: `var(${color})` }} />
      {name}
    </span>
  );
}

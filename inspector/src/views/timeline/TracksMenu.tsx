import { useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import { useDismiss } from "../../components/useDismiss";
import type { Track } from "./tracks";

/** With more tracks than this, there is a search field. */
const MANY = 16;
/** The maximum number of listed tracks. */
const LISTED = 100;

interface TracksMenuProps {
  tracks: Track[];
  chosen: readonly string[];
  choose: (names: string[]) => void;
}

/** The menu of further columns, each with a panel of its own. */
export function TracksMenu({ tracks, chosen, choose }: TracksMenuProps) {
  const open = useSignal(false);
  const root = useRef<HTMLDivElement>(null);
  const close = () => {
    open.value = false;
  };
  const closeOnEscape = (event: KeyboardEvent) => {
    if (event.key === "Escape") close();
  };
  useDismiss(root, open.value, close);
  return (
    <div ref={root} class="gw-timeline-menu" onKeyDown={closeOnEscape}>
      <button
        type="button"
        class="gw-button"
        aria-expanded={open.value}
        onClick={() => (open.value = !open.value)}
      >
        Columns
        {chosen.length > 0 && <span class="gw-label">{chosen.length}</span>}
      </button>
      {open.value && <List tracks={tracks} chosen={chosen} choose={choose} />}
    </div>
  );
}

function List({ tracks, chosen, choose }: TracksMenuProps) {
  const search = useSignal("");
  const wanted = search.value.toLowerCase();
  const found = tracks.filter(({ name }) => name.toLowerCase().includes(wanted));
  const toggle = (name: string) =>
    choose(chosen.includes(name) ? chosen.filter((one) => one !== name) : [...chosen, name]);
  return (
    <div class="gw-timeline-menu-list" role="group" aria-label="Columns that are shown">
      {tracks.length > MANY && (
        <input
          class="gw-input"
          type="search"
          placeholder="Search"
          aria-label="Search columns"
          value={search.value}
          onInput={(event) => (search.value = event.currentTarget.value)}
        />
      )}
      {found.slice(0, LISTED).map(({ name }) => (
        <label key={name}>
          <input type="checkbox" checked={chosen.includes(name)} onChange={() => toggle(name)} />
          {name}
        </label>
      ))}
      {found.length > LISTED && <span class="gw-label">and {found.length - LISTED} more</span>}
    </div>
  );
}

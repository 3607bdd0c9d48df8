// What the page shows first, and what it shows when the user follows another link in it.

import { type Link, readLink } from "./hash";
import type { State } from "./state";

/** The address has these only where they differ. */
const UNNAMED: Link = { direction: "forward", each: false, range: [0, Infinity] };

export class Opening {
  private link: Link;

  /** `hash`: the text after the `#` of the address; "" without one. It is read before the user does anything. */
  constructor(
    private readonly state: State,
    private hash: string,
  ) {
    this.link = readLink(hash);
    state.aimAt(this.link);
  }

  /** Load the list of recordings and show one of them, unless the user has chosen one in the meantime. */
  async start(): Promise<void> {
    const { state } = this;
    const { choices } = state;
    try {
      await state.refresh();
      state.asked.value = true;
      const entries = state.entries.value;
      const entry = this.named() ?? entries.find(({ first }) => first) ?? entries.at(-1);
      if (!entry || state.choices !== choices) return;
      if (!this.hash && entry.place) {
        const { view, ...place } = readLink(entry.place);
        state.aimAt(view && !state.viewChosen ? { ...place, view } : place);
      }
      await state.offer(entry.id);
    } catch (error) {
      state.trouble.value = error instanceof Error ? error.message : String(error);
    }
  }

  /** Go to another link. Without a known recording in it, the page stays with the shown one. */
  follow(hash: string): void {
    const { state } = this;
    this.hash = hash;
    this.link = { ...UNNAMED, ...readLink(hash) };
    state.aimAt(this.link);
    const id = this.named()?.id ?? state.wanted.value ?? state.recording.value?.meta.id;
    if (id !== undefined) void state.show(id);
  }

  private named() {
    return this.state.entries.value.find(({ id }) => id === this.link.recording);
  }
}

"""What is out of place on a page: what runs off its window, is cut off, or lies over something else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.support.browser import Tab

#: Where text may lie over text: the chosen unit's name over that of its row, what follows the pointer.
_OVER = ".gw-heat-chosen-name, .gw-timeline-tip, .gw-ledger-note"

_LOOK = r"""over => {
  const root = document.querySelector(".gatewright");
  const kind = one => one.className?.baseVal ?? one.className;
  const said = one => `${kind(one)} "${(one.textContent ?? "").trim().slice(0, 40)}"`;
  const clips = ["hidden", "auto", "scroll", "clip"], rolls = ["auto", "scroll"];
  const free = ".gw-context, .gw-whatif-context, canvas, svg";
  const beyond = [], cut = [], apart = [];
  // Styles and boxes are asked for once an element, not once for each that is in it.
  const known = new Map();
  const look = one => {
    if (!known.has(one)) known.set(one, {style: getComputedStyle(one), outer: one.getBoundingClientRect()});
    return known.get(one);
  };
  const traits = new Map();
  const traitsOf = one => {
    if (!traits.has(one)) {
      const {style} = look(one);
      const clipped = clips.includes(style.overflowX) || clips.includes(style.overflowY);
      traits.set(one, {
        gone: style.visibility === "hidden" || style.opacity === "0" || style.display === "none" ||
          style.clipPath !== "none" && one.classList.contains("gw-hidden"),
        clipped,
        shortens: style.textOverflow === "ellipsis",
        scrolls: rolls.includes(style.overflowX) || rolls.includes(style.overflowY),
      });
    }
    return traits.get(one);
  };
  // A box that can be scrolled may hold more than is in sight; what is cut otherwise is lost.
  const seen = (element, box) => {
    let {left, right, top, bottom} = box;
    for (let one = element; one && one !== document.body; one = one.parentElement) {
      const {gone, clipped, shortens, scrolls} = traitsOf(one);
      if (gone) return null;
      if (one === element && one instanceof SVGElement) continue;
      if (!clipped) continue;
      const {outer} = look(one);
      const off = right > outer.right + 1 || left < outer.left - 1;
      if (off && !scrolls && !shortens && !one.closest(free)) cut.push(said(element));
      left = Math.max(left, outer.left); right = Math.min(right, outer.right);
      top = Math.max(top, outer.top); bottom = Math.min(bottom, outer.bottom);
      if (right - left < 0.5 || bottom - top < 0.5) return null;
    }
    return {left, right, top, bottom};
  };
  for (const one of root.querySelectorAll("*")) {
    const box = look(one).outer;
    if (!box.width || !box.height) continue;
    const part = seen(one.parentElement, box);
    if (part && (part.right > innerWidth + 0.5 || part.left < -0.5)) beyond.push(said(one));
  }
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  const texts = [];
  for (let node; (node = walker.nextNode());) {
    if (!node.data.trim()) continue;
    const element = node.parentElement;
    if (element.closest("option, script, style, title") || element.matches(over)) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const box of range.getClientRects()) {
      const part = box.width > 1 && seen(element, box);
      if (part) texts.push({node, element, text: node.data.trim().slice(0, 30), ...part});
    }
  }
  // Boxes of lines are taller than their letters.
  const rooms = texts.map(box => {
    const air = (box.bottom - box.top) * 0.2;
    return {...box, top: box.top + air, bottom: box.bottom - air};
  });
  rooms.sort((a, b) => a.top - b.top);
  rooms.forEach((a, i) => {
    for (let k = i + 1; k < rooms.length && rooms[k].top < a.bottom; k++) {
      const b = rooms[k];
      const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (a.node !== b.node && wide > 0.5 && high > 1) apart.push(`"${a.text}" and "${b.text}"`);
    }
  });
  return {width: document.scrollingElement.scrollWidth, beyond: [...new Set(beyond)], cut: [...new Set(cut)],
          over: [...new Set(apart)]};
}"""


def misplaced(tab: Tab) -> dict[str, Any]:
    """Return the width that the page takes, and what is beyond the window, cut off, or over something else."""
    found: dict[str, Any] = tab.page.evaluate(_LOOK, _OVER)
    return found


#: WCAG 2.2, 1.4.3: text needs this contrast with what it stands on.
CONTRAST = 4.5

#: What cannot be pressed may be pale; a number in a dot stands on its dot.
_LEFT_OUT = "option, .gw-hidden, :disabled, [aria-disabled=true], [data-dot]"

_PALE = r"""({least, left}) => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
  const known = new Map();
  const rgba = color => {
    if (!known.has(color)) {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = color;
      canvas.fillRect(0, 0, 1, 1);
      known.set(color, [...canvas.getImageData(0, 0, 1, 1).data]);
    }
    return known.get(color);
  };
  const over = (top, under) => under.map((value, k) => (top[k] * top[3] + value * (255 - top[3])) / 255);
  const light = color => {
    const linear = part => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = color.map(value => linear(value / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = element => {
    const parts = [];
    for (let one = element; one; one = one.parentElement) {
      parts.push(rgba(getComputedStyle(one).backgroundColor));
      if (parts.at(-1)[3] === 255) break;
    }
    return parts.reverse().reduce((under, top) => over(top, under), [255, 255, 255]);
  };
  const pale = new Map();
  const walker = document.createTreeWalker(document.querySelector(".gatewright"), NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode());) {
    const one = node.parentElement;
    if (!node.data.trim() || one.closest(left)) continue;
    if (!one.checkVisibility({visibilityProperty: true})) continue;
    const drawn = one instanceof SVGElement;
    const under = ground(drawn ? one.closest("svg").parentElement : one);
    const ink = over(rgba(drawn ? getComputedStyle(one).fill : getComputedStyle(one).color), under);
    const [dark, bright] = [light(ink), light(under)].sort((a, b) => a - b);
    const ratio = (bright + 0.05) / (dark + 0.05);
    const kind = one.className?.baseVal ?? one.className;
    if (ratio < least) pale.set(`${kind} "${node.data.trim().slice(0, 30)}"`, ratio);
  }
  return Object.fromEntries(pale);
}"""


def pale(tab: Tab) -> dict[str, float]:
    """Return the contrast of each text that has too little of it."""
    found: dict[str, float] = tab.page.evaluate(_PALE, {"least": CONTRAST, "left": _LEFT_OUT})
    return found

// The keyboard: every key of the page.

import { pairOf } from "./board.mjs";
import { find } from "./dom.mjs";
import { snapOf } from "./drag.mjs";

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Keyboard {
  constructor(state, view, mouse) {
    Object.assign(this, { state, view, mouse });
    document.addEventListener("keydown", (event) => this.#key(event));
  }

  #key(event) {
    if (event.key === "Escape") { this.#escape(event); return; }
    if (event.target.matches("input, select, textarea") || document.querySelector("dialog[open]")) return;
    const bar = event.target.closest(".bar");
    if (bar && this.#onBar(event, bar)) { event.preventDefault(); return; }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const act = {
      n: () => this.state.openNew({ side: "d" }, find("new")),
      t: () => find("today").click(),
      "[": () => find("before").click(),
      "]": () => find("after").click(),
      w: () => find("week").click(),
      d: () => find("day").click(),
      f: () => find("fold").click(),
      x: () => this.state.nextDifference(),
      "/": () => find("filter").focus(),
      "?": () => find("help").click(),
    }[event.key.toLowerCase()];
    if (!act) return;
    event.preventDefault();
    act();
  }

  #escape(event) {
    if (this.mouse.cancel()) return;
    if (this.state.closeDetails()) return;
    if (event.target === find("filter")) { find("filter").value = ""; this.state.setFilter(""); event.target.blur(); }
  }

  #onBar(event, bar) {
    const { one, side } = bar.item, { actions } = this.state;
    if (event.key === "Enter" || event.key === " ") { this.state.open(one, bar, true); return true; }
    if (event.key === "Delete" || event.key === "Backspace") {
      if (side === "d") actions.cancelBooking(one); else actions.deleteEvent(one);
      return true;
    }
    const arrow = ARROWS[event.key];
    if (!arrow) return false;
    if (!event.altKey) { this.#go(bar, arrow); return true; }
    if (one.allDay) return true;
    const [dx, dy] = arrow, step = dx * snapOf(this.state);
    if (dy) this.#reassign(bar.item, dy);
    else {
      const fields = event.shiftKey
        ? { start: one.start, end: Math.max(one.end + step, one.start + Math.abs(step)) }
        : { start: one.start + step, end: one.end + step };
      if (side === "d") actions.changeBooking(one, fields); else actions.changeEvent(one, fields);
    }
    return true;
  }

  #reassign({ one, side, row }, by) {
    if (side !== "d") return;
    const { rows } = this.view.layout, next = rows[rows.findIndex((other) => other.resource.id === row.resource.id) + by];
    if (next) this.state.actions.changeBooking(one, { resource: next.resource.id }).then(() => this.view.focus(`d${one.id}`));
  }

  // To the nearest bar in that direction: along the row by time, across rows by place.
  #go(bar, [dx, dy]) {
    const here = bar.getBoundingClientRect(), x = here.left, y = here.top + here.height / 2;
    let best = null, least = Infinity;
    for (const other of this.view.bars.elements.values()) {
      if (other === bar || other.item.side === "ghost") continue;
      const box = other.getBoundingClientRect(), far = [box.left - x, box.top + box.height / 2 - y];
      const isSameRow = other.item.row.resource.id === bar.item.row.resource.id && other.item.side === bar.item.side;
      if (dx && (!isSameRow || far[0] * dx <= 0)) continue;
      if (dy && far[1] * dy <= 2) continue;
      const distance = dx ? Math.abs(far[0]) : Math.abs(far[1]) * 4 + Math.abs(far[0]);
      if (distance < least) [best, least] = [other, distance];
    }
    if (best) { this.view.focus(best.item.key); this.view.hover(pairOf(best.item.one)); }
  }
}

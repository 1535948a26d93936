// The mouse on the board: move, resize, reassign, draw something new.

import { find } from "./dom.mjs";
import { LANE, PAD } from "./layout.mjs";
import { DAY, HOUR, MINUTE, day, dayOf, span } from "./time.mjs";
import { pairOf } from "./board.mjs";

const FAR = 4;          // pixels from which a press is a drag
const EDGE = 6;         // pixels of a bar's end that resize it
const USUAL = HOUR;     // how long something new is
const NEAR = 36;        // pixels from the border at which the board scrolls

export function snapOf(state) { return (state.days === 1 ? 15 : 30) * MINUTE; }

const snapped = (time, snap) => Math.round(time / snap) * snap;

export class Mouse {
  constructor(state, view) {
    Object.assign(this, { state, view, drag: null });
    const { canvas } = view;
    canvas.addEventListener("pointerdown", (event) => this.#press(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", (event) => this.#release(event));
    canvas.addEventListener("pointercancel", () => this.cancel());
    canvas.addEventListener("pointerleave", () => { find("hint").hidden = true; if (!this.drag) this.#leave(); });
  }

  #press(event) {
    if (event.button !== 0) return;
    const bar = event.target.closest(".bar");
    const place = this.view.placeAt(event.clientX, event.clientY);
    if (bar && bar.item.side === "ghost") return;
    if (!bar && !place.row) return;
    event.preventDefault();
    find("hint").hidden = true;
    if (this.state.closeDetails() && !bar) return; // a click beside what is open closes it, no more
    this.view.canvas.setPointerCapture(event.pointerId);
    this.drag = bar
      ? { bar, item: bar.item, kind: this.#grip(bar, event), x: event.clientX, y: event.clientY }
      : { kind: "new", place, x: event.clientX, y: event.clientY };
  }

  #grip(bar, event) {
    if (bar.item.one.allDay) return "none";
    const box = bar.getBoundingClientRect(), edge = Math.min(EDGE, box.width / 4);
    if (event.clientX > box.right - edge) return "end";
    return event.clientX < box.left + edge && box.width > 3 * edge ? "start" : "move";
  }

  #move(event) {
    if (!this.drag) { this.#hover(event); return; }
    const { drag } = this;
    if (!drag.moved && Math.hypot(event.clientX - drag.x, event.clientY - drag.y) < FAR) return;
    if (drag.kind === "none") return;
    drag.moved = true;
    drag.event = event;
    document.body.classList.add("dragging", `dragging-${drag.kind}`);
    drag.bar?.classList.add("lifted");
    this.#preview();
    this.#scroll();
  }

  #preview() {
    const { drag, view } = this, { event } = drag;
    drag.wish = drag.kind === "new" ? this.#drawn(drag, event) : this.#moved(drag, event);
    const { start, end, row, top, side } = drag.wish;
    const { scale } = view.layout, box = find("drag");
    const left = scale.at(start);
    box.hidden = false;
    box.className = side;
    box.style.left = `${left * 100}%`;
    box.style.width = `${Math.max((scale.at(end) - left) * 100, 0.3)}%`;
    box.style.top = `${top}px`;
    box.style.height = `${LANE}px`;
    const isElsewhere = drag.item && row !== drag.item.row;
    this.#tip(event, `${day(start)}, ${span(start, end)}`, isElsewhere || drag.kind === "new" ? row.resource.name : "");
    for (const [key, strip] of view.strips.elements) strip.classList.toggle("target", key === row.resource.id && (isElsewhere || drag.kind === "new"));
  }

  #moved({ item, kind, x }, event) {
    const { one, side } = item, { scale } = this.view.layout, snap = snapOf(this.state);
    const shift = (event.clientX - x) / this.view.width;
    let { start, end } = one, { row, top } = item;
    if (kind === "move") {
      // across days the distance is what the pointer went; hours that are not shown do not count
      start = Math.abs(event.clientX - x) < FAR ? start : snapped(scale.timeAt(scale.at(one.start) + shift), snap);
      end = start + (one.end - one.start);
      const over = this.view.placeAt(event.clientX, event.clientY).row;
      if (side === "d" && over && over !== row) { row = over; top = over.top + PAD; }
    } else if (kind === "end") {
      end = Math.max(snapped(scale.timeAt(scale.at(one.end) + shift, true), snap), start + snap);
    } else {
      start = Math.min(snapped(scale.timeAt(scale.at(one.start) + shift), snap), end - snap);
    }
    return { start, end, row, top, side };
  }

  #drawn({ place, x }, event) {
    const { scale } = this.view.layout, snap = snapOf(this.state);
    const reach = (event.clientX - x) / this.view.width;
    const a = Math.min(place.fraction, place.fraction + reach), b = Math.max(place.fraction, place.fraction + reach);
    const start = Math.floor(scale.timeAt(a) / snap + 1e-6) * snap;
    const end = Math.max(Math.ceil(scale.timeAt(b, true) / snap - 1e-6) * snap, start + snap);
    return { start, end, row: place.row, top: place.top, side: place.side };
  }

  #release(event) {
    const { drag } = this;
    if (!drag) return;
    this.cancel();
    if (!drag.moved) {
      if (drag.bar) { this.view.focus(drag.item.key); this.state.open(drag.item.one, drag.bar); }
      else this.#click(drag.place);
      return;
    }
    const { start, end, row, side } = drag.wish;
    if (drag.kind === "new") { this.state.openNew({ side, resource: row.resource, start, end }, find("drag")); return; }
    const { one } = drag.item;
    const fields = {};
    if (start !== one.start || end !== one.end) Object.assign(fields, { start, end });
    if (row !== drag.item.row) fields.resource = row.resource.id;
    if (!Object.keys(fields).length) return;
    if (side === "d") this.state.actions.changeBooking(one, fields);
    else this.state.actions.changeEvent(one, fields);
  }

  #click(place) {
    const { start, end } = this.#usual(place);
    this.#show(find("drag"), place, start, end);
    this.state.openNew({ side: place.side, resource: place.row.resource, start, end }, find("drag"));
  }

  #usual(place) {
    const snap = snapOf(this.state);
    const start = Math.floor(this.view.layout.scale.timeAt(place.fraction) / snap + 1e-6) * snap;
    return { start, end: Math.min(start + USUAL, dayOf(start) + DAY) };
  }

  #show(box, place, start, end) {
    const { scale } = this.view.layout, left = scale.at(start);
    box.className = place.side;
    box.hidden = false;
    box.style.left = `${left * 100}%`;
    box.style.width = `${(scale.at(end) - left) * 100}%`;
    box.style.top = `${place.top}px`;
    box.style.height = `${LANE}px`;
  }

  // Without a button pressed: show what belongs together, or what a click here would make.
  #hover(event) {
    const bar = event.target.closest(".bar");
    if (bar !== this.over) {
      this.over = bar;
      this.view.hover(bar ? pairOf(bar.item.one) : null);
    }
    const hint = find("hint"), place = this.view.placeAt(event.clientX, event.clientY);
    hint.hidden = Boolean(bar) || !place.row;
    if (bar && bar.item.side !== "ghost") {
      const kind = this.#grip(bar, event);
      bar.style.cursor = kind === "move" ? "grab" : kind === "none" ? "pointer" : "ew-resize";
      const { one } = bar.item;
      this.#tip(event, `${one.title || "Without a title"}`, one.allDay ? "all day" : span(one.start, one.end), this.state.model.wordsOf(one).join(", "));
    } else find("tip").hidden = true;
    if (!hint.hidden) {
      const { start, end } = this.#usual(place);
      this.#show(hint, place, start, end);
    }
  }

  #leave() {
    this.over = null;
    this.view.hover(null);
    find("tip").hidden = true;
  }

  #tip(event, ...lines) {
    const tip = find("tip");
    tip.replaceChildren(...lines.filter(Boolean).map((line, index) => {
      const part = document.createElement(index ? "span" : "b");
      part.textContent = line;
      if (index === 2) part.className = "wrong";
      return part;
    }));
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    tip.style.left = `${Math.min(event.clientX + 14, innerWidth - width - 8)}px`;
    tip.style.top = `${event.clientY + 22 + height > innerHeight ? event.clientY - height - 12 : event.clientY + 20}px`;
  }

  // While something is held near the border, what is beyond it comes nearer.
  #scroll() {
    const step = () => {
      if (!this.drag?.moved) { this.scrolling = false; return; }
      const box = find("scroll").getBoundingClientRect(), { clientY } = this.drag.event;
      const by = clientY > box.bottom - NEAR ? 10 : clientY < box.top + NEAR + 40 ? -10 : 0;
      if (by) { find("scroll").scrollTop += by; this.#preview(); }
      requestAnimationFrame(step);
    };
    if (this.scrolling) return;
    this.scrolling = true;
    requestAnimationFrame(step);
  }

  // Put down what is held, where it was. Says whether there was anything.
  cancel() {
    const had = Boolean(this.drag?.moved);
    this.drag?.bar?.classList.remove("lifted");
    this.drag = null;
    document.body.classList.remove("dragging", "dragging-move", "dragging-start", "dragging-end", "dragging-new");
    for (const strip of this.view.strips.elements.values()) strip.classList.remove("target");
    find("drag").hidden = true;
    find("tip").hidden = true;
    if (had) this.state.render(); // what came in the meantime
    return had;
  }
}

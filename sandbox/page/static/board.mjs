// The board as elements: days, names, strips, bars and their labels.

import { Keyed, find, make, set } from "./dom.mjs";
import { CAPTION, LANE, PAD, TRACK, layOut } from "./layout.mjs";
import { DAY, HOUR, clock, day, isWeekend, span } from "./time.mjs";

const MARGIN = 300;      // pixels above and below what is seen in which rows are there, too
const WIDE = 130;        // pixels of a bar that holds its own words, however much room there is beside it
const NARROW = 44;       // pixels of a bar that can hold any
const ROOM_BESIDE = 26;  // pixels between two bars that hold a label
const ROOM_AMPLE = 90;   // pixels beside a bar that hold more than the bar itself
const SHOWN_AS = { busy: "busy", tentative: "tentative", free: "free", oof: "away", workingElsewhere: "elsewhere", unknown: "unknown" };

export class BoardView {
  constructor(state) {
    this.state = state;
    this.canvas = find("canvas");
    this.bars = new Keyed(find("bars"), (item) => make("div", { role: "button", tabIndex: -1 },
      make("span", { className: "text" })));
    this.labels = new Keyed(find("bars"), () => make("div", { className: "label", ariaHidden: "true" },
      make("span", { className: "title" }), make("span", { className: "more" })));
    this.strips = new Keyed(find("strips"), () => make("div", { className: "strip" }));
    this.names = new Keyed(find("names"), () => make("div"));
    this.scroller = find("scroll");
    new ResizeObserver(() => { if (state.model) this.render(); }).observe(this.canvas);
    this.scroller.addEventListener("scroll", () => { if (state.model) requestAnimationFrame(() => this.#renderRows()); });
  }

  get width() { return this.canvas.clientWidth || 1; }

  render() {
    const { state } = this;
    this.layout = layOut(state.model, { ...state, width: this.width });
    this.canvas.style.height = `${this.layout.height}px`;
    this.#renderDays();
    this.#renderRows();
    this.renderNow();
  }

  // However many rows there are, only those in sight, and the one with the focus, are elements.
  #renderRows() {
    const { scrollTop, clientHeight } = this.scroller, focused = document.activeElement?.item?.row.resource.id;
    const isNear = ({ top, height }) => top + height > scrollTop - MARGIN && top < scrollTop + clientHeight + MARGIN;
    const rows = this.layout.rows.filter((row) => isNear(row) || row.resource.id === focused);
    this.#renderNames(rows);
    this.#renderBars(rows);
  }

  #renderDays() {
    const { state, layout: { scale } } = this, isOne = state.days === 1;
    const days = [], columns = [];
    for (let index = 0; index < scale.days; index += 1) {
      const time = scale.from + index * DAY, isOff = isWeekend(time);
      const isToday = state.now >= time && state.now < time + DAY;
      const names = `${isToday ? " today" : ""}${isOff ? " weekend" : ""}`;
      const head = make("button", {
        type: "button",
        className: `day${names}`,
        title: isOne ? "Show the week" : "Show this day",
        onclick: () => state.show(isOne ? state.from : time, isOne ? 7 : 1),
      }, make("b", {}, isOff && !isOne ? day(time).slice(0, -4) : day(time)), ...(isOff && !isOne ? [] : this.#ticks(scale, isOne)));
      const column = make("div", { className: `column${names}` });
      column.style.setProperty("--lines", isOne ? scale.hours : isOff ? 1 : scale.hours / 2);
      for (const one of [head, column]) one.style.width = `${scale.shares[index] * 100}%`;
      days.push(head);
      columns.push(column);
    }
    find("days").replaceChildren(...days);
    find("grid").replaceChildren(...columns);
  }

  #ticks(scale, isOne) {
    const ticks = [], step = isOne ? 1 : scale.hours > 12 ? 6 : 4;
    for (let hour = scale.first; hour < scale.last; hour += 1) {
      if (!isOne && (hour % step || hour === scale.first)) continue;
      const tick = make("span", { className: "tick" }, isOne ? `${hour}:00` : String(hour));
      tick.style.left = `${((hour - scale.first) / scale.hours) * 100}%`;
      ticks.push(tick);
    }
    return ticks;
  }

  #renderNames(rows) {
    const { captions } = this.layout;
    const items = [
      ...captions.map((one) => ({ key: one.text, caption: one.text, ...one, height: CAPTION })),
      ...rows.map((row) => ({ key: row.resource.id, ...row })),
    ];
    this.names.show(items, (element, { caption, resource, top, height }) => {
      element.className = caption ? "caption" : "name";
      element.style.top = `${top}px`;
      element.style.height = `${height}px`;
      if (element.dataset.text === (caption ?? resource.name)) return;
      element.dataset.text = caption ?? resource.name;
      const note = resource && !resource.mailbox ? make("small", {}, "no mailbox") : null;
      element.replaceChildren(make("span", { title: caption ?? resource.name }, caption ?? resource.name), ...(note ? [note] : []));
    });
    this.strips.show(items, (element, { caption, resource, top, height }) => {
      element.className = caption ? "strip caption" : `strip${resource.mailbox ? "" : " lone"}`;
      element.style.top = `${top}px`;
      element.style.height = `${height}px`;
    });
  }

  #renderBars(rows) {
    const bars = [], labels = [];
    for (const row of rows) {
      for (const unit of row.units) {
        const top = row.top + PAD + unit.track * TRACK;
        const isSame = unit.booking && unit.event && unit.booking.start === unit.event.start && unit.booking.end === unit.event.end;
        const { booking, event } = unit, isInside = this.#holdsWords(unit);
        if (booking) bars.push({ key: `d${booking.id}`, side: "d", one: booking, row, top, isSame, isInside });
        if (event) bars.push({ key: `o${event.id}`, side: "o", one: event, row, top: top + LANE, isSame, isInside });
        if (booking?.state === "missing") bars.push({ key: `g${booking.id}`, side: "ghost", one: booking, row, top: top + LANE, isSame: true });
        labels.push({ key: unit.id, unit, top, isInside });
      }
    }
    this.bars.show(bars, (element, item) => this.#updateBar(element, item));
    this.labels.show(labels, (element, item) => this.#updateLabel(element, item));
    this.#keepOneInTabOrder(bars);
  }

  // Whether the words stand in the bars; else they stand beside them.
  #holdsWords(unit) {
    const { scale } = this.layout, parts = [unit.booking, unit.event].filter(Boolean);
    const width = Math.min(...parts.map((part) => scale.at(part.end) - scale.at(part.start))) * this.width;
    return width >= WIDE || (width >= NARROW && (unit.room - unit.right) * this.width < Math.min(width, ROOM_AMPLE) + 8);
  }

  #updateBar(element, item) {
    const { side, one, row, top, isSame, isInside } = item;
    const { scale } = this.layout, { model } = this.state;
    element.item = item;
    const left = scale.at(one.start), right = scale.at(one.end);
    element.style.left = `${left * 100}%`;
    element.style.width = `max(${(right - left) * 100}% - 1px, 6px)`;
    element.style.top = `${top}px`;
    const classes = ["bar", side];
    if (isSame) classes.push("joined");
    if (one.kind === "canceled" || one.cancelled) classes.push("canceled");
    if (one.kind === "proposed" || one.showAs === "tentative" || one.showAs === "free") classes.push("soft");
    if (side === "o" && !one.booking) classes.push("foreign");
    if (side !== "ghost" && model.isWrong(one)) classes.push(this.state.ages.isFresh(one, performance.now()) ? "fresh" : "wrong");
    if (side === "ghost" && this.state.ages.isFresh(one, performance.now())) classes.push("fresh");
    if (this.state.selected === pairOf(one)) classes.push("selected");
    if (element.classList.contains("healed")) classes.push("healed");
    const name = classes.join(" ");
    if (element.className !== name) element.className = name;
    if (side === "ghost") { set(element, "aria-hidden", "true"); return; }
    set(element, "aria-label", this.#spoken(side, one, row));
    const text = isInside ? this.#inside(side, one, (right - left) * this.width < WIDE) : "";
    if (element.firstChild.textContent !== text) element.firstChild.textContent = text;
  }

  #inside(side, one, isNarrow) {
    if (side === "d") return one.title || one.customer || "Booking";
    const booking = this.state.model.bookingOf(one);
    return booking && booking.title === one.title
      ? isNarrow ? clock(one.start) : span(one.start, one.end)
      : one.title || "Event";
  }

  #updateLabel(element, { unit, top, isInside }) {
    const { booking, event } = unit, one = booking ?? event;
    const words = this.state.model.wordsOf(one);
    const isWrong = words.length > 0 && !this.state.ages.isFresh(one, performance.now());
    const room = (unit.room - unit.right) * this.width - 8;
    const isShown = room >= ROOM_BESIDE && (!isInside || isWrong);
    element.hidden = !isShown;
    if (!isShown) return;
    element.style.left = `calc(${unit.right * 100}% + 5px)`;
    element.style.top = `${top + (booking ? 0 : LANE)}px`;
    element.style.maxWidth = `${room}px`;
    element.className = `label${isWrong ? " wrong" : ""}${one.kind === "canceled" ? " canceled" : ""}`;
    const title = isInside ? "" : one.title || one.customer || (booking ? "Booking" : "Event");
    element.firstChild.textContent = title;
    element.lastChild.textContent = isWrong ? words.join(", ") : booking ? clock(one.start) : "";
  }

  #spoken(side, one, row) {
    const what = side === "d" ? "Booking" : "Event";
    const status = side === "d" ? this.state.model.status(one.status)?.name : SHOWN_AS[one.showAs];
    const words = this.state.model.wordsOf(one);
    const verdict = words.length ? words.join(", ") : one.state === "same" || (one.booking && side === "o") ? "the same on both sides" : "";
    const when = one.allDay ? `${day(one.start)}, all day` : `${day(one.start)}, ${span(one.start, one.end)}`;
    return [`${what} ${one.title || "without a title"}`, row.resource.name, when, status, verdict].filter(Boolean).join("; ");
  }

  // One bar is reached by Tab, the others by arrows.
  #keepOneInTabOrder(bars) {
    const keys = bars.filter((bar) => bar.side !== "ghost").map((bar) => bar.key);
    const focused = document.activeElement?.item?.key;
    const current = keys.includes(focused) ? focused : keys.includes(this.current) ? this.current : keys[0];
    for (const [key, element] of this.bars.elements) element.tabIndex = key === current ? 0 : -1;
    this.current = current;
  }

  renderNow() {
    const { now } = this.state, { scale } = this.layout, line = find("now");
    const hour = (now - Math.floor(now / DAY) * DAY) / HOUR;
    line.hidden = !(now >= scale.from && now < scale.from + scale.days * DAY && hour >= scale.first && hour <= scale.last);
    line.style.left = `${scale.at(now) * 100}%`;
  }

  // Let the bars of a pair light up for a moment.
  heal(key) {
    for (const element of this.bars.elements.values()) {
      if (element.item.side === "ghost" || pairOf(element.item.one) !== key) continue;
      element.classList.add("healed");
      setTimeout(() => element.classList.remove("healed"), 900);
    }
  }

  hover(key) {
    for (const element of this.bars.elements.values()) element.classList.toggle("hot", key !== null && pairOf(element.item.one) === key);
  }

  // Give the focus to a bar, wherever it is.
  focus(key) {
    const row = this.layout.rows.find((one) => one.units.some((unit) => keysOf(unit).includes(key)));
    if (!row) return;
    if (!this.bars.get(key)) {
      this.scroller.scrollTop = row.top - this.scroller.clientHeight / 2;
      this.#renderRows();
    }
    const element = this.bars.get(key);
    this.current = key;
    for (const other of this.bars.elements.values()) other.tabIndex = other === element ? 0 : -1;
    element.focus({ preventScroll: true });
    element.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  // The row and lane at a place on the screen.
  placeAt(clientX, clientY) {
    const box = this.canvas.getBoundingClientRect();
    const y = clientY - box.top;
    const row = this.layout.rows.find((one) => y >= one.top && y < one.top + one.height);
    const fraction = (clientX - box.left) / box.width;
    if (!row) return { row, fraction };
    const inside = Math.min(Math.max(y - row.top - PAD, 0), row.height - 2 * PAD - 1);
    const side = inside % TRACK < LANE || !row.resource.mailbox ? "d" : "o";
    return { row, fraction, side, top: row.top + PAD + Math.floor(inside / TRACK) * TRACK + (side === "o" ? LANE : 0) };
  }
}

export const keysOf = ({ booking, event }) => [booking && `d${booking.id}`, event && `o${event.id}`].filter(Boolean);

// What a booking and its events have in common: the booking's id, or the event's own if it has none.
export const pairOf = (one) => one.booking ?? one.id;

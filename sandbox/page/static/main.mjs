// The page: what it shows, and the loop that keeps it true.

import { Actions } from "./actions.mjs";
import * as api from "./api.mjs";
import { BoardView, keysOf, pairOf } from "./board.mjs";
import { Details } from "./details.mjs";
import { Dock } from "./dock.mjs";
import { find, toast } from "./dom.mjs";
import { Mouse } from "./drag.mjs";
import { Keyboard } from "./keys.mjs";
import { Ages, Model } from "./model.mjs";
import { DAY, day, dayOf, isoDay, period } from "./time.mjs";

const WAIT = 25;         // seconds that the server holds a question without news
const BREATH = 100;      // milliseconds between two questions, however much happens
const AGAIN = 1500;      // milliseconds until a server that was gone is asked again

class State {
  constructor() {
    Object.assign(this, { from: dayOf(Date.now()), days: 7, filter: "", model: null, selected: null, now: Date.now() });
    Object.assign(this, { ages: new Ages(), version: "", known: 0, answers: 0, hasTime: false });
    this.actions = new Actions(this);
    this.view = new BoardView(this);
    this.mouse = new Mouse(this, this.view);
    this.details = new Details(this);
    this.dock = new Dock(this);
    this.keyboard = new Keyboard(this, this.view, this.mouse);
  }

  render() {
    if (!this.model || this.mouse.drag?.moved) return;
    this.view.render();
    this.#renderTop();
    this.details.refresh();
  }

  // Show other days.
  show(from, days = this.days) {
    // The week in which a day was opened comes back when the day is left.
    if (days === 1 && this.days === 7) this.week = this.from;
    const isBack = days === 7 && this.days === 1 && from >= this.week && from < this.week + 7 * DAY;
    this.from = isBack ? this.week : dayOf(from);
    this.days = days;
    this.closeDetails();
    this.ages.forget();
    find("week").setAttribute("aria-pressed", String(days === 7));
    find("day").setAttribute("aria-pressed", String(days === 1));
    this.#renderTop();
    this.lookAgain();
  }

  // Ask the server at once, whatever it has not told yet.
  lookAgain() {
    this.version = "";
    this.waiting?.abort();
  }

  setFilter(text) { this.filter = text; this.render(); }

  open(one, anchor, byKey) { this.details.open(one, anchor, byKey); }

  openNew(wish, anchor) { if (this.model) this.details.openNew(wish, anchor); }

  closeDetails() { return this.details.close(); }

  select(pair) {
    if (this.selected === pair) return;
    this.selected = pair;
    for (const element of this.view.bars.elements.values()) element.classList.toggle("selected", pair !== null && pairOf(element.item.one) === pair);
  }

  nextDifference() {
    const wrong = this.view.layout.rows.flatMap((row) => row.units)
      .filter(({ booking, event }) => this.model.isWrong(booking ?? event)).map((unit) => keysOf(unit)[0]);
    if (!wrong.length) { toast("Nothing differs here."); return; }
    const key = wrong[(wrong.indexOf(document.activeElement.item?.key) + 1) % wrong.length];
    this.view.focus(key);
    this.view.hover(pairOf(this.view.bars.get(key).item.one));
  }

  #renderTop() {
    find("period").textContent = period(this.from, this.days);
    find("today").disabled = this.from === dayOf(this.now);
    if (!this.model) return;
    const { scale } = this.view.layout ?? {};
    const shown = [...this.model.bookings.values()].filter((one) => !scale || scale.shows(one));
    const now = performance.now(), isOld = (one) => !this.ages.isFresh(one, now);
    const orphans = [...this.model.events.values()].filter((one) => one.booking && !this.model.bookingOf(one));
    const wrong = [...shown.filter((one) => one.words.length), ...orphans];
    const old = wrong.filter(isOld).length, fresh = wrong.length - old;
    const same = shown.filter((one) => one.state === "same").length;
    const verdict = find("verdict");
    verdict.className = `verdict ${old ? "wrong" : fresh ? "fresh" : same ? "same" : "idle"}`;
    verdict.replaceChildren(...(old
      ? [Object.assign(document.createElement("button"), { type: "button", textContent: `${old} ${old === 1 ? "differs" : "differ"}`, title: "Go to the next difference (X)", onclick: () => this.nextDifference() })]
      : [fresh ? `${fresh} on the way` : same ? `${same} on both sides` : "nothing to compare"]));
    find("empty").hidden = shown.length > 0 || this.model.events.size > 0;
  }

  #took(model) {
    this.model = model;
    const healed = this.ages.note(model, performance.now());
    this.#renderLater();
    return healed;
  }

  // A difference that stays shows itself without any news.
  #renderLater() {
    clearTimeout(this.later);
    const next = this.ages.next(performance.now());
    if (next === Infinity) return;
    this.later = setTimeout(() => { this.render(); this.#renderLater(); }, next + 20);
  }

  #heard(told) {
    this.now = Date.parse(told.now);
    this.heardAt = performance.now();
    this.known = told.known;
    this.answers = told.answers;
    this.dock.show(told);
    if (!this.hasTime) {
      this.hasTime = true;
      if (dayOf(this.now) !== this.from) { this.show(this.now, 7); return; }
    }
    if (told.board) {
      this.version = told.board_version;
      const healed = this.#took(new Model(told.board));
      this.render();
      for (const key of healed) this.view.heal(key);
    }
    this.tick();
  }

  tick() {
    const now = this.now + (this.heardAt ? performance.now() - this.heardAt : 0);
    this.dock.showTime(now);
    if (this.view.layout) this.view.renderNow();
  }

  async run() {
    for (;;) {
      this.waiting = new AbortController();
      try {
        this.#heard(await api.live({
          from: isoDay(this.from), days: this.days, after: this.known, answers: this.answers,
          board_version: this.version, wait: this.version ? WAIT : 0,
        }, this.waiting.signal));
        document.body.classList.remove("gone");
      } catch (error) {
        if (error.name !== "AbortError") {
          if (!document.body.classList.contains("gone")) toast(error.message, "bad");
          document.body.classList.add("gone");
          await new Promise((done) => setTimeout(done, AGAIN));
          this.version = "";
        }
        continue;
      }
      await new Promise((done) => setTimeout(done, BREATH));
    }
  }
}

const state = new State();

find("today").onclick = () => state.show(state.now);
find("before").onclick = () => state.show(state.from - state.days * DAY);
find("after").onclick = () => state.show(state.from + state.days * DAY);
find("week").onclick = () => state.show(state.from, 7);
find("day").onclick = () => {
  const isHere = state.now >= state.from && state.now < state.from + 7 * DAY;
  if (state.days === 7) state.show(isHere ? state.now : state.from, 1);
};
find("filter").oninput = (event) => state.setFilter(event.target.value);
find("new").onclick = () => state.openNew({ side: "d" }, find("new"));
find("fill").onclick = async () => {
  find("fill").disabled = true;
  await state.actions.fillWeek(isoDay(state.from));
  find("fill").disabled = false;
};
find("help").onclick = () => find("keys").showModal();
setInterval(() => state.tick(), 1000);
state.run();

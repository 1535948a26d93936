// What one click shows: both sides of a pair next to each other, to be read and changed; or something new.

import { find, make } from "./dom.mjs";
import { HOUR, MINUTE, ofInput, toInput } from "./time.mjs";
import { pairOf } from "./board.mjs";

const SHOWN_AS = [["busy", "Busy"], ["tentative", "Tentative"], ["free", "Free"], ["oof", "Away"], ["workingElsewhere", "Working elsewhere"]];

export class Details {
  constructor(state) {
    Object.assign(this, { state, pair: null, box: find("details") });
    document.addEventListener("pointerdown", (event) => {
      if (!this.box.hidden && !this.box.contains(event.target) && !event.target.closest("#canvas, #new")) this.close();
    });
  }

  open(one, anchor, byKey = false) {
    this.pair = pairOf(one);
    this.anchor = anchor.getBoundingClientRect();
    this.opener = anchor;
    this.#showPair();
    this.#place();
    if (byKey) (this.box.querySelector("form input") ?? this.box.querySelector("button")).focus();
  }

  openNew({ side, resource, start, end }, anchor) {
    const { state } = this;
    const first = resource ?? state.model.resources.find((one) => one.mailbox) ?? state.model.resources[0];
    const from = start ?? Math.max(state.from, Math.ceil(state.now / HOUR) * HOUR);
    this.pair = null;
    this.opener = null;
    this.anchor = anchor.getBoundingClientRect();
    const form = side === "d"
      ? this.#bookingForm({ title: "", resource: first.id, start: from, end: end ?? from + 90 * MINUTE,
        status: (state.model.statuses.find((one) => one.kind === "committed") ?? state.model.statuses[0])?.id })
      : this.#eventForm({ title: "", mailbox: first.mailbox, start: from, end: end ?? from + HOUR, showAs: "busy" });
    this.box.className = "single";
    this.box.replaceChildren(this.#head(side === "d" ? "New booking" : "New event", null), form);
    this.#place();
    if (anchor.id === "drag") anchor.hidden = false; // what is being made stays in sight
    form.querySelector("input").focus();
  }

  close() {
    if (this.box.hidden) return false;
    const hadFocus = this.box.contains(document.activeElement);
    this.box.hidden = true;
    this.pair = null;
    find("drag").hidden = true;
    if (hadFocus && this.opener?.isConnected) this.opener.focus({ preventScroll: true });
    this.state.select(null);
    return true;
  }

  // The board has changed: show it, but never over what somebody is typing.
  refresh() {
    if (this.box.hidden || !this.pair) return;
    if (this.box.querySelector("form.dirty")) {
      this.box.querySelector(".words")?.replaceWith(this.#words(this.#parts()));
      return;
    }
    const inside = this.box.contains(document.activeElement) ? document.activeElement.name : null;
    this.#showPair();
    if (inside && !this.box.hidden) this.box.querySelector(`[name="${inside}"]`)?.focus();
  }

  #parts() {
    const { model } = this.state, booking = model.bookings.get(this.pair);
    const events = booking ? model.eventsOf(booking) : [...model.events.values()].filter((one) => pairOf(one) === this.pair);
    return { booking, events };
  }

  #showPair() {
    const parts = this.#parts(), { booking, events } = parts;
    if (!booking && !events.length) { this.close(); return; }
    this.state.select(this.pair);
    this.box.className = "";
    this.box.hidden = false;
    const title = booking?.title || events[0]?.title || "Without a title";
    this.box.replaceChildren(
      this.#head(title, parts),
      make("div", { className: "sides" },
        booking ? this.#bookingForm(booking) : this.#nothing("d", events[0].booking
          ? "Its booking is gone. The app has not removed the event yet, or keeps it."
          : "No booking: the technician's own event. The app leaves it alone."),
        ...(events.length ? events.map((event) => this.#eventForm(event, booking))
          : [this.#nothing("o", this.#whyNoEvent(booking))])),
    );
  }

  #whyNoEvent(booking) {
    if (booking.kind === "canceled") return "No event: the booking is canceled.";
    if (booking.state === "missing") return "No event yet. The app has not written it, or its settings leave this booking out.";
    const resource = this.state.model.resource(booking.resource);
    return resource?.mailbox ? "No event: the app leaves rooms out unless a setting names a mailbox."
      : `No event: ${resource?.name ?? "the resource"} has no mailbox.`;
  }

  #head(title, parts) {
    const close = make("button", { type: "button", className: "icon", ariaLabel: "Close", title: "Close (Esc)", onclick: () => this.close() }, "×");
    return make("header", {}, make("h3", {}, title), parts ? this.#words(parts) : null, close);
  }

  #words({ booking, events }) {
    const words = this.state.model.wordsOf(booking ?? events[0]);
    const calm = booking?.state === "same" ? "the same on both sides" : "";
    return make("p", { className: `words${words.length ? " wrong" : ""}` }, words.join(", ") || calm);
  }

  #nothing(side, words) {
    return make("div", { className: `side ${side} nothing` },
      make("h4", {}, side === "d" ? "Dynamics 365" : "Outlook"), make("p", {}, words));
  }

  #bookingForm(booking) {
    const { actions, model } = this.state, isNew = !booking.id;
    const field = this.#fields("d", [
      ["title", "Title", "text", booking.title],
      ["resource", "For", model.resources.map((one) => [one.id, one.name]), booking.resource],
      ["start", "Start", "datetime-local", toInput(booking.start)],
      ["end", "End", "datetime-local", toInput(booking.end)],
      ["status", "Status", model.statuses.map((one) => [one.id, one.name]), booking.status],
    ], booking.order ? `${booking.order}${booking.customer ? `, ${booking.customer}` : ""}` : "");
    return this.#form(field, isNew ? "Book" : "Save", (fields) => (isNew ? actions.book(fields) : actions.changeBooking(booking, fields)), isNew, [
      !isNew && booking.kind !== "canceled" && ["Cancel booking", () => actions.cancelBooking(booking)],
      !isNew && ["Delete", () => actions.deleteBooking(booking)],
    ]);
  }

  #eventForm(event, booking) {
    const { actions, model } = this.state, isNew = !event.id;
    const field = this.#fields("o", [
      ["title", "Title", "text", event.title],
      ...(isNew ? [["mailbox", "Calendar of", model.resources.filter((one) => one.mailbox).map((one) => [one.mailbox, one.name]), event.mailbox]]
        : [["", "Calendar of", "fixed", model.ownerOf(event)?.name ?? ""]]),
      ...(event.allDay ? [["", "When", "fixed", `${toInput(event.start).slice(0, 10)}, all day`]] : [
        ["start", "Start", "datetime-local", toInput(event.start)],
        ["end", "End", "datetime-local", toInput(event.end)],
      ]),
      ["showAs", "Shown as", SHOWN_AS, event.showAs],
    ], event.private ? "private" : "");
    if (booking && !event.allDay) {
      field.querySelector("[name=start]").classList.toggle("differs", event.start !== booking.start);
      field.querySelector("[name=end]").classList.toggle("differs", event.end !== booking.end);
      if (model.resource(booking.resource)?.mailbox !== event.mailbox) field.querySelector("output").classList.add("differs");
    }
    const save = (fields) => {
      const { mailbox, ...content } = fields;
      return isNew ? actions.makeEvent(mailbox, content) : actions.changeEvent(event, content);
    };
    return this.#form(field, isNew ? "Enter" : "Save", save, isNew, [!isNew && ["Delete", () => actions.deleteEvent(event)]]);
  }

  #fields(side, fields, note) {
    const form = make("form", { className: `side ${side}`, noValidate: true }, make("h4", {}, side === "d" ? "Dynamics 365" : "Outlook"));
    for (const [name, words, kind, value] of fields) {
      let input;
      if (kind === "fixed") input = make("output", {}, value);
      else if (Array.isArray(kind)) {
        input = make("select", { name }, ...kind.map(([id, text]) => make("option", { value: id, selected: id === value }, text)));
        if (!kind.some(([id]) => id === value)) input.prepend(make("option", { value: value ?? "", selected: true }, value ?? "–"));
      } else input = make("input", { name, type: kind, value: value ?? "", ...(kind === "text" ? { maxLength: 100, placeholder: "Title", autocomplete: "off" } : {}) });
      input.dataset && (input.dataset.was = input.value ?? "");
      form.append(make("label", {}, make("span", {}, words), input));
    }
    if (note) form.append(make("p", { className: "note" }, note));
    return form;
  }

  #form(form, verb, save, isNew, others) {
    form.addEventListener("input", () => form.classList.add("dirty"));
    // Who moves the start means the whole, not its length.
    form.querySelector("[name=start]")?.addEventListener("change", ({ target }) => {
      const end = form.querySelector("[name=end]"), by = ofInput(target.value) - ofInput(target.dataset.last ?? target.dataset.was);
      if (Number.isFinite(by)) end.value = toInput(ofInput(end.value) + by);
      target.dataset.last = target.value;
    });
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const fields = this.#given(form, isNew);
      if (!fields) return;
      const buttons = form.querySelectorAll("button");
      for (const button of buttons) button.disabled = true;
      const done = !Object.keys(fields).length || await save(fields);
      for (const button of buttons) button.disabled = false;
      if (!done) return;
      form.classList.remove("dirty");
      if (isNew) this.close(); else this.refresh();
    });
    const act = (words, click) => make("button", { type: "button", className: "quiet", onclick: () => { this.close(); click(); } }, words);
    form.append(make("div", { className: "acts" }, make("button", { className: "primary" }, verb),
      ...others.filter(Boolean).map(([words, click]) => act(words, click))));
    return form;
  }

  // What was changed, or all for something new; null, and said why, when it makes no sense.
  #given(form, isNew) {
    const fields = {};
    let isChanged = false;
    for (const input of form.elements) {
      if (!input.name || input.tagName === "OUTPUT") continue;
      const isTime = input.type === "datetime-local";
      if (isTime) fields[input.name] = ofInput(input.value);
      if (isTime && input.value !== input.dataset.was) isChanged = true;
      if (!isTime && (isNew || input.value !== input.dataset.was)) fields[input.name] = input.value;
    }
    const problem = isNew && !fields.title.trim() ? "It needs a title."
      : "start" in fields && !(fields.end > fields.start) ? "It has to end after it starts." : "";
    form.querySelector(".problem")?.remove();
    if (problem) {
      form.querySelector(".acts").before(make("p", { className: "problem", role: "alert" }, problem));
      return null;
    }
    if (!isNew && !isChanged) { delete fields.start; delete fields.end; }
    return fields;
  }

  // Below what it is about, above it if there is no room.
  #place() {
    this.box.hidden = false;
    const { anchor, box } = this, size = box.getBoundingClientRect();
    const below = anchor.bottom + 8 + size.height < innerHeight - 8;
    const top = below ? anchor.bottom + 8 : Math.max(8, Math.min(anchor.top - 8 - size.height, innerHeight - size.height - 8));
    box.style.left = `${Math.max(8, Math.min(anchor.left - 20, innerWidth - size.width - 8))}px`;
    box.style.top = `${top}px`;
  }
}

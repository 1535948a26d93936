// Where everything stands: pure, from what is booked to rows, tracks and fractions of the width.

import { DAY, HOUR, dayOf, isWeekend } from "./time.mjs";

export const LANE = 16;                 // pixels of one side: Dynamics above, Outlook below
export const TRACK = 2 * LANE + 3;      // pixels of a booking with its event
export const PAD = 3;                   // pixels around the tracks of a row
export const CAPTION = 26;              // pixels of the line above the people, the rooms, the rest
const WEEKEND = 0.5;                    // of the width of a working day
const USUAL_HOURS = [8, 18];
const LONG = 12 * HOUR;                 // what lasts longer does not widen the hours shown
const CAPTIONS = { person: "People", room: "Rooms", thing: "Other resources" };

export class Scale {
  // The hours from `first` to `last` of `days` days, laid in a row; in a week, days of a weekend are narrow.
  constructor(from, days, first, last) {
    const weights = Array.from({ length: days }, (_, index) => (days > 1 && isWeekend(from + index * DAY) ? WEEKEND : 1));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    Object.assign(this, { from, days, first, last, hours: last - first, shares: weights.map((weight) => weight / total) });
    this.lefts = this.shares.map((_, index) => this.shares.slice(0, index).reduce((sum, share) => sum + share, 0));
  }

  static around(from, days, items) {
    let [first, last] = USUAL_HOURS;
    for (const { start, end } of items) {
      if (end - start >= LONG || end <= from || start >= from + days * DAY) continue;
      const overnight = dayOf(start) !== dayOf(end - 1);
      first = overnight ? 0 : Math.min(first, Math.floor((start - dayOf(start)) / HOUR));
      last = overnight ? 24 : Math.max(last, Math.ceil((end - dayOf(start)) / HOUR));
    }
    return new Scale(from, days, first, last);
  }

  // The fraction of the width at which a time stands; hours that are not shown have no width.
  at(time) {
    const index = Math.floor((time - this.from) / DAY);
    if (index < 0) return 0;
    if (index >= this.days) return 1;
    const hour = (time - this.from - index * DAY) / HOUR;
    const shown = Math.min(Math.max(hour, this.first), this.last) - this.first;
    return this.lefts[index] + (shown / this.hours) * this.shares[index];
  }

  // The time at a fraction; where one day ends and the next begins, `ending` says which of the two is meant.
  timeAt(fraction, ending = false) {
    const place = Math.min(Math.max(fraction, 0), 1);
    let index = this.lefts.findLastIndex((left) => left <= place + 1e-9);
    if (ending && index > 0 && place - this.lefts[index] < 1e-6) index -= 1;
    return this.from + index * DAY + (this.first + ((place - this.lefts[index]) / this.shares[index]) * this.hours) * HOUR;
  }

  shows({ start, end }) {
    const [a, b] = [this.at(start), this.at(end)];
    return b > a && start < this.from + this.days * DAY && end > this.from;
  }
}

// What belongs together in one row: a booking, its event, or both; each with the part of the width it takes.
function unitsOf(model, scale) {
  const units = new Map(model.resources.map((resource) => [resource.id, []]));
  const taken = new Set();
  const put = (row, unit) => {
    if (!units.has(row)) return;
    const parts = [unit.booking, unit.event].filter(Boolean);
    unit.left = Math.min(...parts.map((part) => scale.at(part.start)));
    unit.right = Math.max(...parts.map((part) => scale.at(part.end)));
    units.get(row).push(unit);
  };
  for (const booking of model.bookings.values()) {
    if (!scale.shows(booking)) continue;
    const mailbox = model.resource(booking.resource)?.mailbox;
    const event = model.eventsOf(booking).find((one) => mailbox && one.mailbox === mailbox && scale.shows(one));
    if (event) taken.add(event.id);
    put(booking.resource, { id: `b${booking.id}`, booking, event });
  }
  for (const event of model.events.values()) {
    if (taken.has(event.id) || !scale.shows(event)) continue;
    put(model.rowOf(event), { id: `e${event.id}`, event });
  }
  return units;
}

// Put units that overlap below each other; returns how many tracks that takes.
function pack(units, least) {
  units.sort((a, b) => a.left - b.left || b.right - a.right || (a.id < b.id ? -1 : 1));
  const ends = [], last = [];
  for (const unit of units) {
    let track = ends.findIndex((end) => end <= unit.left + 1e-9);
    if (track < 0) track = ends.length;
    ends[track] = Math.max(unit.right, unit.left + least);
    unit.track = track;
    if (last[track]) last[track].room = unit.left;
    unit.room = 1;
    last[track] = unit;
  }
  return ends.length;
}

export function layOut(model, { from, days, filter, width }) {
  const scale = Scale.around(from, days, [...model.bookings.values(), ...model.events.values()]);
  const wanted = filter.trim().toLowerCase();
  const units = unitsOf(model, scale);
  const rows = [], captions = [];
  let top = 0, kind = "";
  for (const resource of model.resources) {
    if (!resource.name.toLowerCase().includes(wanted)) continue;
    if (resource.kind !== kind) {
      kind = resource.kind;
      captions.push({ text: CAPTIONS[kind], top });
      top += CAPTION;
    }
    const own = units.get(resource.id);
    const height = Math.max(pack(own, 6 / width), 1) * TRACK + 2 * PAD;
    rows.push({ resource, units: own, top, height });
    top += height;
  }
  return { scale, rows, captions, height: top };
}

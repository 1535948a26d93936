// What both sides hold, as the server told it, and how the two find each other.

// Milliseconds in which a difference may just be on its way: alone, and while others that came with it heal.
const CALM = 4000, LONGEST = 30_000;

export class Model {
  constructor(board) {
    const timed = (one) => ({ ...one, start: Date.parse(one.start), end: Date.parse(one.end) });
    this.resources = board.resources;
    this.statuses = board.statuses;
    this.bookings = new Map(board.bookings.map((one) => [one.id, timed(one)]));
    this.events = new Map(board.events.map((one) => [one.id, timed(one)]));
    this._resources = new Map(board.resources.map((one) => [one.id, one]));
    this._owners = new Map();
    for (const one of board.resources) if (one.mailbox && !this._owners.has(one.mailbox)) this._owners.set(one.mailbox, one);
  }

  resource(id) { return this._resources.get(id); }

  status(id) { return this.statuses.find((one) => one.id === id); }

  eventsOf(booking) { return booking.events.map((id) => this.events.get(id)).filter(Boolean); }

  bookingOf(event) { return event.booking ? this.bookings.get(event.booking) : undefined; }

  ownerOf(event) { return this._owners.get(event.mailbox); }

  // The row of an event: that of its booking if both have one mailbox, else that of its owner.
  rowOf(event) {
    const row = this.resource(this.bookingOf(event)?.resource);
    return row?.mailbox === event.mailbox ? row.id : this.ownerOf(event)?.id;
  }

  // What is wrong, in words, as it is seen from a booking or from an event.
  wordsOf(one) {
    if (one.words) return one.words;
    if (!one.booking) return [];
    const booking = this.bookingOf(one), owner = this.resource(booking?.resource);
    if (!booking) return ["its booking is gone"];
    const words = booking.words.filter((word) => !word.startsWith("in ") || !word.endsWith("'s calendar"));
    return owner && owner.mailbox !== one.mailbox ? [`booked for ${owner.name}`, ...words] : words;
  }

  isWrong(one) { return this.wordsOf(one).length > 0; }
}

// Since when each difference is seen. What was there at the first look has been there for who knows how long.
export class Ages {
  constructor() { this.forget(); }

  forget() { Object.assign(this, { _since: new Map(), _healedAt: -Infinity, _first: true }); }

  // Note what differs now; returns the keys of what agrees again.
  note(model, now) {
    const wrong = new Set([...model.bookings.values(), ...model.events.values()]
      .filter((one) => model.isWrong(one)).map((one) => one.booking ?? one.id));
    for (const key of wrong) if (!this._since.has(key)) this._since.set(key, this._first ? -Infinity : now);
    const healed = [];
    for (const [key, since] of this._since) {
      if (wrong.has(key)) continue;
      this._since.delete(key);
      healed.push(key);
      if (since > -Infinity) this._healedAt = now;
    }
    this._first = false;
    return healed;
  }

  isFresh(one, now) { return now < this.#until(this._since.get(one.booking ?? one.id) ?? now); }

  // Milliseconds until the next difference is no longer fresh.
  next(now) {
    const left = [...this._since.values()].map((since) => this.#until(since) - now).filter((ms) => ms > 0);
    return left.length ? Math.min(...left) : Infinity;
  }

  #until(since) { return Math.min(Math.max(since, since > -Infinity ? this._healedAt : since) + CALM, since + LONGEST); }
}

// What a person does: at once on the board, then for real; what is refused is taken back, in words.

import * as api from "./api.mjs";
import { find, toast } from "./dom.mjs";
import { stamp } from "./time.mjs";

const times = (fields) => ({
  ...fields,
  ...("start" in fields ? { start: stamp(fields.start), end: stamp(fields.end) } : {}),
});

export class Actions {
  constructor(state) { Object.assign(this, { state, underWay: 0 }); }

  async #do(act) {
    this.#count(1);
    try {
      await act();
      return true;
    } catch (error) {
      toast(error.message, "bad");
      this.state.lookAgain();
      return false;
    } finally {
      this.#count(-1);
    }
  }

  #count(by) {
    this.underWay += by;
    find("scroll").ariaBusy = String(this.underWay > 0);
  }

  changeBooking(booking, fields) {
    Object.assign(booking, fields);
    this.state.render();
    return this.#do(() => api.changeBooking(booking.id, times(fields)));
  }

  changeEvent(event, fields) {
    Object.assign(event, fields);
    this.state.render();
    return this.#do(() => api.changeEvent(event, times(fields)));
  }

  book(fields) { return this.#do(() => api.book(times(fields))); }

  makeEvent(mailbox, fields) { return this.#do(() => api.makeEvent(mailbox, times(fields))); }

  cancelBooking(booking) {
    const status = this.state.model.statuses.find((one) => one.kind === "canceled");
    return this.#do(() => api.changeBooking(booking.id, { status: status.id }));
  }

  deleteBooking(booking) { return this.#do(() => api.deleteBooking(booking.id)); }

  deleteEvent(event) { return this.#do(() => api.deleteEvent(event)); }

  fillWeek(from) { return this.#do(() => api.fillWeek(from)); }

  turn(name, on) { return this.#do(() => api.turn(name, on)).then(() => this.state.lookAgain()); }

  advance(seconds) { return this.#do(() => api.advance(seconds)).then(() => this.state.lookAgain()); }

  command(name) { return this.#do(() => api.command(name)); }
}

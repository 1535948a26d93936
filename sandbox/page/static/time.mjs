// Times are milliseconds since 1970; days and clocks are those of UTC, as in the story of the demo.

export const MINUTE = 60_000, HOUR = 60 * MINUTE, DAY = 24 * HOUR;

const DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
  "November", "December"];

const two = (number) => String(number).padStart(2, "0");

export const dayOf = (time) => Math.floor(time / DAY) * DAY;

export const isoDay = (time) => new Date(time).toISOString().slice(0, 10);

export const stamp = (time) => `${new Date(time).toISOString().slice(0, 19)}Z`;

export const clock = (time) => `${two(new Date(time).getUTCHours())}:${two(new Date(time).getUTCMinutes())}`;

export const clockExact = (time) => `${clock(time)}:${two(new Date(time).getUTCSeconds())}`;

export function day(time) {
  const date = new Date(time);
  return `${DAYS[date.getUTCDay()]} ${date.getUTCDate()} ${MONTHS[date.getUTCMonth()].slice(0, 3)}`;
}

export const isWeekend = (time) => new Date(time).getUTCDay() % 6 === 0;

export function span(start, end) {
  return dayOf(start) === dayOf(end) || (end - start <= DAY && end === dayOf(end))
    ? `${clock(start)} – ${clock(end)}`
    : `${day(start)} ${clock(start)} – ${day(end)} ${clock(end)}`;
}

export function period(from, days) {
  const first = new Date(from), last = new Date(from + (days - 1) * DAY);
  const end = `${last.getUTCDate()} ${MONTHS[last.getUTCMonth()]} ${last.getUTCFullYear()}`;
  if (days === 1) return `${DAYS[first.getUTCDay()]}, ${end}`;
  const sameMonth = first.getUTCMonth() === last.getUTCMonth();
  const sameYear = first.getUTCFullYear() === last.getUTCFullYear();
  return `${first.getUTCDate()}${sameMonth ? "" : ` ${MONTHS[first.getUTCMonth()]}`}`
    + `${sameYear ? "" : ` ${first.getUTCFullYear()}`} – ${end}`;
}

export const toInput = (time) => new Date(time).toISOString().slice(0, 16);

export const ofInput = (text) => Date.parse(`${text}Z`);

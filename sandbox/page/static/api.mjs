// The page's own server; what it refuses comes as an Error in words.

async function call(method, path, body, signal) {
  const sent = body === undefined ? {} : { headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  let answer;
  try {
    answer = await fetch(path, { method, signal, ...sent });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The sandbox does not answer. Does it still run?");
  }
  if (answer.status === 204) return null;
  const said = await answer.json().catch(() => ({ error: `The sandbox said ${answer.status}, without a word.` }));
  if (!answer.ok) throw new Error(said.error);
  return said;
}

const booking = (id) => `/api/bookings/${encodeURIComponent(id)}`;
const event = (one) => `/api/events/${encodeURIComponent(one.mailbox)}/${encodeURIComponent(one.id)}`;

export const live = (query, signal) => call("GET", `/api/live?${new URLSearchParams(query)}`, undefined, signal);
export const book = (fields) => call("POST", "/api/bookings", fields);
export const changeBooking = (id, fields) => call("PATCH", booking(id), fields);
export const deleteBooking = (id) => call("DELETE", booking(id), {});
export const fillWeek = (from) => call("POST", "/api/week", { from });
export const makeEvent = (mailbox, fields) => call("POST", `/api/events/${encodeURIComponent(mailbox)}`, fields);
export const changeEvent = (one, fields) => call("PATCH", event(one), fields);
export const deleteEvent = (one) => call("DELETE", event(one), {});
export const turn = (name, on) => call("POST", `/api/switches/${name}`, { on });
export const advance = (seconds) => call("POST", "/api/clock", { seconds });
export const command = (name) => call("POST", `/api/commands/${encodeURIComponent(name)}`, {});

// What travels and what troubles it: the latest calls, the switches, the clock.

import { find, make } from "./dom.mjs";
import { clockExact } from "./time.mjs";

const MOST = 250;
const APP = "Booking Sync";
const WHO = { "Booking Sync": "app", "Booking Sync Identity": "app", Planner: "people", Dynamics: "dynamics", Outlook: "outlook" };

export class Dock {
  constructor(state) {
    Object.assign(this, { state, calls: new Map(), everyone: false, switches: new Map() });
    find("calls-app").onclick = () => this.#choose(false);
    find("calls-all").onclick = () => this.#choose(true);
    find("clear").onclick = () => { this.calls.clear(); this.#renderCalls(); };
    find("fold").onclick = () => this.#fold(!document.body.classList.contains("folded"));
    for (const button of document.querySelectorAll("#clock [data-seconds]")) {
      button.onclick = () => state.actions.advance(Number(button.dataset.seconds));
    }
    this.#fold(localStorage.getItem("folded") === "yes");
  }

  #fold(isFolded) {
    document.body.classList.toggle("folded", isFolded);
    find("fold").setAttribute("aria-expanded", String(!isFolded));
    find("fold").textContent = isFolded ? "⌃" : "⌄";
    localStorage.setItem("folded", isFolded ? "yes" : "no");
  }

  #choose(everyone) {
    this.everyone = everyone;
    find("calls-app").setAttribute("aria-pressed", String(!everyone));
    find("calls-all").setAttribute("aria-pressed", String(everyone));
    this.#renderCalls();
  }

  show({ calls, faults, commands }) {
    for (const call of calls) this.calls.set(call.number, call);
    if (this.calls.size > 2 * MOST) {
      for (const number of [...this.calls.keys()].sort((a, b) => a - b).slice(0, this.calls.size - MOST)) this.calls.delete(number);
    }
    if (calls.length) this.#renderCalls();
    this.#renderSwitches(faults);
    this.#renderCommands(commands);
  }

  #renderCalls() {
    const all = [...this.calls.values()].filter((call) => this.everyone || WHO[call.who] === "app" || call.whom === APP);
    const parts = new Map();
    for (const call of all) if (call.batch) parts.set(call.batch, [...(parts.get(call.batch) ?? []), call]);
    const lines = [];
    for (const call of all.filter((one) => !one.batch).sort((a, b) => b.number - a.number)) {
      if (lines.length > MOST) break;
      const own = parts.get(call.number) ?? [];
      lines.push(this.#line(call, own.length), ...own.map((part) => this.#line(part)));
    }
    find("calls").replaceChildren(...(lines.length ? lines : [make("li", { className: "none" }, "Silence. Move something on the board, and see what the app does.")]));
    const sent = all.filter((call) => !call.batch && WHO[call.who] === "app");
    const to = (name) => sent.filter((call) => call.whom === name).length;
    find("counts").textContent = sent.length ? `${to("Graph")} requests to Graph, ${to("Dataverse")} to Dataverse` : "";
  }

  #line(call, parts = 0) {
    const status = !call.answered ? "…" : call.status || "lost";
    const isBad = call.answered && (!call.status || call.status >= 400);
    const path = call.envelope ? `${call.path} with ${parts}` : call.path;
    return make("li", { className: `${WHO[call.who] ?? ""}${call.batch ? " part" : ""}${isBad ? " bad" : ""}` },
      make("time", {}, call.batch ? "" : clockExact(Date.parse(call.at))),
      make("span", { className: "who", title: `${call.who} → ${call.whom}` }, call.batch ? "" : `${call.who === APP ? "App" : call.who === "Planner" ? "People" : call.who || "–"} → ${call.whom === APP ? "App" : call.whom}`),
      make("b", {}, call.method),
      make("span", { className: "path", title: path }, path),
      make("em", {}, call.note),
      make("span", { className: "status" }, String(status)));
  }

  #renderSwitches({ switches, others }) {
    for (const one of switches) {
      let button = this.switches.get(one.name);
      if (!button) {
        button = make("button", { type: "button", role: "switch", title: one.words, id: `switch-${one.name}` },
          make("span", { className: "knob" }), make("span", { className: "title" }, one.title), make("span", { className: "hits" }));
        button.onclick = () => this.state.actions.turn(one.name, button.getAttribute("aria-checked") !== "true");
        this.switches.set(one.name, button);
        find("switches").append(button);
      }
      button.setAttribute("aria-checked", String(one.on));
      button.querySelector(".hits").textContent = one.on ? `${one.hits}×` : "";
    }
    find("others").textContent = others ? `and ${others} from the control plane` : "";
  }

  #renderCommands(commands) {
    const known = find("commands");
    if (known.children.length === commands.length) return;
    known.replaceChildren(...commands.map((name) => make("button", {
      type: "button", title: "Have the app look now for what nobody told it", onclick: () => this.state.actions.command(name),
    }, name)));
  }

  showTime(now) { find("time").textContent = `${clockExact(now)} UTC`; }
}

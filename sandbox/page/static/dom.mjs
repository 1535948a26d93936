// Small helpers for elements.

export const find = (id) => document.getElementById(id);

export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

export function set(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

// Elements by key: kept while their key is wanted, so that they glide, and keep the focus.
export class Keyed {
  constructor(parent, create) { Object.assign(this, { parent, create, elements: new Map() }); }

  show(items, update) {
    const wanted = new Set();
    for (const item of items) {
      wanted.add(item.key);
      let element = this.elements.get(item.key);
      if (!element) {
        element = this.create(item);
        this.elements.set(item.key, element);
        this.parent.append(element);
      }
      update(element, item);
    }
    for (const [key, element] of this.elements) {
      if (wanted.has(key)) continue;
      element.remove();
      this.elements.delete(key);
    }
  }

  get(key) { return this.elements.get(key); }
}

export function toast(words, kind = "") {
  const element = make("div", { className: `toast ${kind}` }, words);
  find("toasts").append(element);
  setTimeout(() => element.remove(), kind === "bad" ? 9000 : 3500);
}

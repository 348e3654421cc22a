// What the pages share: elements, numbers, the packed data, downloads, the state in the address, a map.

const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId('data').textContent);
const number = new Intl.NumberFormat('en');
const count = (n) => number.format(n);
function share(part, whole) {
  if (!whole) return '–';
  if (part && part < whole / 2000) return '<0.1%';
  return `${(100 * part / whole).toFixed(part && part < whole / 100 ? 1 : 0)}%`;
}

// el('td', {class: 'n'}, 'text', child): attributes by name, event handlers as functions.
function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') made.addEventListener(name, value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// Moves nothing that has the focus out from under the reader's hands.
function keepingFocus(change) {
  const held = document.activeElement;
  change();
  if (held && held !== document.activeElement && held.isConnected) held.focus({preventScroll: true});
}

async function unpack(id) {
  const text = atob(byId(id).textContent);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function download(name, lines) {
  const link = el('a', {href: URL.createObjectURL(new Blob(lines, {type: 'text/csv;charset=utf-8'})), download: name});
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

const quoted = (text) => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
const csvLine = (cells) => `${cells.map((cell) => quoted(String(cell ?? ''))).join(',')}\n`;

// The address is the state: whatever changes it writes the hash, and whatever shows it reads the hash.
const readHash = () => new URLSearchParams(location.hash.slice(1));
function writeHash(change) {
  const state = readHash();
  change(state);
  const next = `#${state}`;
  if (next !== location.hash) location.hash = next;
}

function tell(text) {
  byId('notice').textContent = text;
  byId('notice').hidden = !text;
}

// Buttons of which one is on. options: [value, label]. Returns (value) => nothing, which shows what is on.
function choice(box, options, chosen) {
  const buttons = options.map(([value, label]) => {
    const button = el('button', {type: 'button', 'aria-pressed': 'false', click: () => chosen(value)}, label);
    button.dataset.value = value;
    return button;
  });
  box.replaceChildren(...buttons);
  return (value) => buttons.forEach((button) => button.setAttribute('aria-pressed', String(button.dataset.value === value)));
}

// Tabs as the ARIA practices have them: one stop for Tab, arrows between them.
function tabs(list, chosen) {
  const all = [...list.querySelectorAll('[role=tab]')];
  const go = (tab) => { tab.focus(); chosen(tab.getAttribute('aria-controls')); };
  all.forEach((tab, at) => {
    tab.addEventListener('click', () => chosen(tab.getAttribute('aria-controls')));
    tab.addEventListener('keydown', (event) => {
      const to = {ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: all.length - 1}[event.key];
      if (to !== undefined) { event.preventDefault(); go(all[(to + all.length) % all.length]); }
    });
  });
  return (name) => all.forEach((tab) => {
    const on = tab.getAttribute('aria-controls') === name;
    tab.setAttribute('aria-selected', String(on));
    tab.tabIndex = on ? 0 : -1;
    byId(tab.getAttribute('aria-controls')).hidden = !on;
    if (on) list.scrollLeft = tab.offsetLeft - (list.clientWidth - tab.offsetWidth) / 2;
  });
}

function tip(event, text) {
  const box = byId('tip');
  box.hidden = !text;
  if (!text) return;
  box.textContent = text;
  const left = Math.min(event.clientX + 14, innerWidth - box.offsetWidth - 8);
  const above = event.clientY - box.offsetHeight - 12;
  box.style.left = `${Math.max(8, left)}px`;
  box.style.top = `${above > 4 ? above : event.clientY + 18}px`;
}

// Countries as shapes, the smallest with a dot. `paint` takes Map(code -> class 0 to 5), a text for each and the chosen code.
function world(box, {width, height, paths, dots}, picked) {
  const all = new Map();
  const drawing = svg('svg', {viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': 'Map of the world; the table has the same figures'});
  for (const [code, path] of Object.entries(paths)) all.set(code, [svg('path', {d: path})]);
  for (const [code, [cx, cy]] of Object.entries(dots)) all.get(code).push(svg('circle', {cx, cy, r: 2.6}));
  drawing.append(...[...all.values()].map((parts) => parts[0]), ...[...all.values()].flatMap((parts) => parts.slice(1)));
  let texts = () => '';
  for (const [code, parts] of all) {
    for (const part of parts) {
      part.addEventListener('click', () => picked(code));
      part.addEventListener('pointermove', (event) => { part.classList.add('hot'); tip(event, texts(code)); });
      part.addEventListener('pointerleave', (event) => { part.classList.remove('hot'); tip(event, ''); });
    }
  }
  box.replaceChildren(drawing);
  const paint = (shades, text, chosen) => {
    texts = text;
    for (const [code, parts] of all) {
      const shade = shades.get(code) ?? 0;
      parts.forEach((part) => {
        part.setAttribute('class', `q${shade}${code === chosen ? ' picked' : ''}`);
        if (part.tagName === 'circle') part.style.display = shade ? '' : 'none';
      });
      if (code === chosen) parts.forEach((part) => part.parentNode.append(part));
    }
  };
  return {paint, has: (code) => all.has(code)};
}

// Classes 1 to 5 by limits, each at least so much; and the legend of class 0 and those.
const shade = (value, limits) => limits.filter((limit) => value >= limit).length;
const ranges = (limits) => limits.map((limit, i) => (i + 1 < limits.length ? `${count(limit)}–${count(limits[i + 1] - 1)}` : `${count(limit)} or more`));
const legend = (box, names) => box.replaceChildren(...names.map((name, i) => el('li', {}, el('i', {class: `q${i}`}), name)));

// Replaces what a box shows, and gives the focus back to the button of the same key.
function replace(box, made) {
  const key = box.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  const top = box.scrollTop;
  box.replaceChildren(made);
  box.scrollTop = top;
  if (key) [...box.querySelectorAll('[data-key]')].find((one) => one.dataset.key === key)?.focus({preventScroll: true});
}

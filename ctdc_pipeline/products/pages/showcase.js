// The showcase. Records are columns of codes and bitsets; a selection is a bitset; every view is computed from it anew.

const variables = data.variables;
const named = new Map(variables.map((variable) => [variable.name, variable]));
const flags = variables.filter((variable) => variable.kind === 'flag');
const words = Math.ceil(data.rows / 32);
const VIEWS = ['attributes', 'map', 'corridors', 'time', 'missing', 'uses', 'method'];
const PLACES = ['citizenship', 'CountryOfExploitation'];
const SHOWN = 10; // countries that a card lists at first
const LONG = 30; // corridors

const bits = new Map(); // number of an attribute -> bitset of the records that have it
const codes = new Map(); // name of a variable that is no flag -> code of each record, 0 for missing
const groups = new Map(); // group of flags -> bitset of the records with any of them
const counts = []; // by length: {keys, counts, least}

function popcount(set) {
  let sum = 0;
  for (let i = 0; i < set.length; i++) {
    let v = set[i];
    v -= (v >>> 1) & 0x55555555;
    v = (v & 0x33333333) + ((v >>> 2) & 0x33333333);
    sum += (((v + (v >>> 4)) & 0x0f0f0f0f) * 0x01010101) >>> 24;
  }
  return sum;
}

function both(a, b) {
  if (!a || !b) return a || b;
  const result = new Uint32Array(words);
  for (let i = 0; i < words; i++) result[i] = a[i] & b[i];
  return result;
}

const size = (set) => (set ? popcount(set) : data.rows); // null is every record
const common = (a, b) => (a ? popcount(both(a, b)) : popcount(b));

function bitset(attribute) {
  if (!bits.has(attribute)) {
    const variable = variables.findLast((one) => one.first <= attribute);
    const column = codes.get(variable.name);
    const code = attribute - variable.first + 1;
    const set = new Uint32Array(words);
    for (let i = 0; i < column.length; i++) if (column[i] === code) set[i >>> 5] |= 1 << (i & 31);
    bits.set(attribute, set);
  }
  return bits.get(attribute);
}

// Calls `visit` with each record of the selection.
function each(set, visit) {
  if (!set) { for (let i = 0; i < data.rows; i++) visit(i); return; }
  for (let w = 0; w < words; w++) {
    for (let v = set[w]; v; v &= v - 1) visit((w << 5) + 31 - Math.clz32(v & -v));
  }
}

// How often each code of a variable occurs in the selection; [0] is missing.
function distribution(variable, set) {
  if (variable.kind === 'flag') {
    const has = common(set, bitset(variable.first));
    return [size(set) - has, has];
  }
  const column = codes.get(variable.name);
  const found = new Uint32Array(variable.values.length + 1);
  if (!set) for (let i = 0; i < column.length; i++) found[column[i]]++;
  else {
    for (let w = 0; w < words; w++) {
      for (let v = set[w]; v; v &= v - 1) found[column[(w << 5) + 31 - Math.clz32(v & -v)]]++;
    }
  }
  return found;
}

// The actual count of a combination of attributes: {count}, or {why} it is not told.
function actual(attributes) {
  if (!attributes.length) return {why: ''};
  if (attributes.length > data.length) return {why: `longer than ${data.length} attributes`};
  const table = counts[attributes.length];
  if (!table) return {why: 'not in this page'};
  const key = [...attributes].sort((a, b) => a - b).reduce((sum, attribute) => sum * data.attributes + attribute, 0);
  let low = 0;
  let high = table.keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (table.keys[middle] < key) low = middle + 1; else high = middle;
  }
  if (table.keys[low] === key) return {count: table.counts[low] * data.k};
  return {why: table.least > data.k ? `below ${count(table.least)}` : `below ${data.k}`, partly: table.least > data.k};
}

const NOT = 'not reportable';
const untold = (real) => (real.partly ? `${real.why}; not in this page` : real.why ? `${NOT}: ${real.why}` : NOT);
const error = (estimate, real) => (real.count ? (estimate - real.count) / real.count : null);
function percent(e) {
  if (e === null) return '';
  const text = Math.abs(100 * e).toFixed(Math.abs(e) < 0.0995 && e ? 1 : 0);
  return `${+text === 0 ? '' : e < 0 ? '−' : '+'}${+text === 0 ? 0 : text}%`;
}

function putActual(cell, real, short = NOT) {
  cell.classList.toggle('not', real.count === undefined);
  cell.textContent = real.count === undefined ? short : count(real.count);
  if (real.count === undefined) cell.title = untold(real); else cell.removeAttribute('title');
}

// The cells of actual count and error; where there is no count, its cell takes the place of both.
function putBoth(realCell, errorCell, estimate, real) {
  putActual(realCell, real);
  realCell.colSpan = real.count === undefined ? 2 : 1;
  errorCell.hidden = real.count === undefined;
  const e = error(estimate, real);
  const far = e !== null && Math.abs(e) > data.limits[1];
  errorCell.textContent = `${far ? '⚠ ' : ''}${percent(e)}`;
  errorCell.classList.toggle('far', far);
  if (far) errorCell.title = 'The synthetic estimate is far off. Use the actual count.'; else errorCell.removeAttribute('title');
}

function actualCells(estimate, real) {
  const cells = [el('td', {class: 'n'}), el('td', {class: 'n'})];
  putBoth(...cells, estimate, real);
  return cells;
}

// ---- state

function state() {
  const hash = readHash();
  const selected = new Map();
  const unknown = [];
  for (const [name, value] of hash) {
    if (name === 'view' || name === 'by' || name === 'shade' || name === 'pairs' || name === 'split' || name === 'use' || name === 'tables') continue;
    const variable = named.get(name);
    const index = variable ? variable.values.indexOf(value) : -1;
    if (index < 0) unknown.push(name); else selected.set(name, variable.first + index);
  }
  const one = (name, known) => (known.includes(hash.get(name)) ? hash.get(name) : known[0]);
  return {
    selected,
    unknown,
    view: one('view', VIEWS),
    by: one('by', PLACES),
    shade: one('shade', ['synthetic', 'actual']),
    pairs: one('pairs', ['all', 'across', 'within']),
    split: one('split', ['', ...splits()]),
    use: one('use', variables.map((variable) => variable.name)),
    tables: hash.get('tables') === '1',
  };
}

const splits = () => ['gender', 'ageBroad', 'majorityStatusAtExploit', 'exploitation', 'labour', 'sex', 'recruiter'];
const set = (name, value) => writeHash((hash) => (value ? hash.set(name, value) : hash.delete(name)));
const toggle = (variable, index) => writeHash((hash) => {
  if (hash.get(variable.name) === variable.values[index]) hash.delete(variable.name);
  else hash.set(variable.name, variable.values[index]);
});
const attributesBut = (now, ...names) => [...now.selected].filter(([name]) => !names.includes(name)).map(([, attribute]) => attribute);
const selectionBut = (now, ...names) => attributesBut(now, ...names).map(bitset).reduce(both, null);
const text = (attribute) => {
  const variable = variables.findLast((one) => one.first <= attribute);
  return {variable, value: variable.values[attribute - variable.first], label: variable.labels[attribute - variable.first]};
};

// ---- tables of values: label, bar, synthetic, share, actual, error

function head(first, {bar = true, part = true} = {}) {
  const names = [[first, ''], ...(bar ? [['', 'bar']] : []), ['Synthetic', 'n'], ...(part ? [['Share', 'n p']] : []), ['Actual', 'n'], ['Error', 'n']];
  return el('thead', {role: 'rowgroup'}, el('tr', {role: 'row'}, ...names.map(([name, kind]) => el('th', {scope: 'col', role: 'columnheader', class: kind}, name))));
}

const columns = () => el('colgroup', {}, el('col'), ...['bar', 's', 'p', 'a', 'e'].map((name) => el('col', {class: `col-${name}`})));

function valueRow(label, kind, click) {
  const row = {
    button: el('button', {type: 'button', class: `value ${kind}`, 'aria-pressed': 'false', click}, label),
    fill: el('div', {class: 'fill'}),
    tick: el('div', {class: 'tick'}),
    synthetic: el('td', {class: 'n', role: 'cell'}),
    part: el('td', {class: 'n p', role: 'cell'}),
    real: el('td', {class: 'n', role: 'cell'}),
    error: el('td', {class: 'n', role: 'cell'}),
  };
  const track = el('div', {class: 'track'}, row.fill, row.tick);
  row.element = el('tr', {role: 'row'}, el('th', {scope: 'row', role: 'rowheader'}, row.button), el('td', {class: 'bar', role: 'cell', 'aria-hidden': 'true'}, track), row.synthetic, row.part, row.real, row.error);
  return row;
}

function fillRow(row, {estimate, whole, people, group, real, most, chosen}) {
  row.synthetic.textContent = count(estimate);
  row.part.textContent = group ? (people && real.count ? share(real.count, people) : '–') : share(estimate, whole);
  putBoth(row.real, row.error, estimate, real);
  row.fill.style.width = `${most ? 100 * estimate / most : 0}%`;
  row.tick.hidden = real.count === undefined;
  row.tick.style.left = `${most && real.count ? 100 * real.count / most : 0}%`;
  row.button.setAttribute('aria-pressed', String(chosen));
  row.element.classList.toggle('chosen', chosen);
  row.element.classList.toggle('none', !estimate && !real.count);
}

// How many people have at least one flag of a card's group, where a table of the release tells it: of all, or with one value.
function knownPeople(now, card) {
  const chosen = [...now.selected].filter(([name]) => named.get(name).group !== card.group || named.get(name).kind !== 'flag');
  if (chosen.length !== now.selected.size || chosen.length > 1) return null;
  const key = chosen.length ? `${chosen[0][0]}=${text(chosen[0][1]).value}` : '';
  return (data.known[key] || {})[card.group] || null;
}

// ---- attributes

// A card: one variable, or one group of flags. Rows are made once and then only change.
const cards = [];
function makeCards() {
  // Two columns that stay as they are: a card that moves under the pointer is lost.
  const sides = [el('div'), el('div')];
  byId('cards').append(...sides);
  for (const variable of variables) {
    if (variable.kind !== 'flag') cards.push({title: variable.label, group: variable.group, name: variable.name, kind: variable.kind, entries: variable.values.map((_, index) => [variable, index])});
    else if (!cards.some((card) => !card.name && card.group === variable.group)) {
      cards.push({title: data.groups[variable.group], group: variable.group, kind: 'flag', entries: flags.filter((flag) => flag.group === variable.group).map((flag) => [flag, 0])});
    }
  }
  for (const card of cards) {
    card.rows = card.entries.map(([variable, index]) => {
      const row = valueRow(variable.labels[index], variable.kind, () => toggle(variable, index));
      const meaning = variable.kind === 'flag' ? variable.definition : variable.meanings[index];
      if (meaning) row.button.title = meaning;
      return {...row, variable, index, attribute: variable.first + index, label: variable.labels[index]};
    });
    card.body = el('tbody', {role: 'rowgroup'}, ...card.rows.map((row) => row.element));
    const title = el('h3', {id: `card-${card.name || card.group}`}, card.title);
    card.note = el('p', {class: 'note', hidden: ''});
    card.more = el('button', {type: 'button', class: 'more', click: () => { card.open = !card.open; order(card); }});
    card.find = card.kind === 'country' ? el('input', {type: 'search', placeholder: 'Find a country', 'aria-label': `Find a country: ${card.title}`, input: () => order(card)}) : null;
    const table = el('table', {class: 'bars', role: 'table', 'aria-labelledby': title.id}, columns(), head('Value'), card.body);
    sides[card.group === 'profile' ? 0 : 1].append(el('section', {class: 'card', 'aria-labelledby': title.id}, el('div', {class: 'card-head'}, title, ...(card.find ? [card.find] : [])), card.note, table, card.more));
  }
}

// Which rows a card shows: of countries the most frequent, the chosen and the ones looked for.
function order(card) {
  const wanted = card.find ? card.find.value.trim().toLowerCase() : '';
  const any = (row) => row.estimate || row.count || row.chosen;
  let rows = card.rows;
  if (card.kind === 'country') {
    rows = rows.filter(any).sort((a, b) => b.estimate - a.estimate || (b.count || 0) - (a.count || 0) || (a.label < b.label ? -1 : 1));
    if (wanted) rows = rows.filter((row) => row.label.toLowerCase().includes(wanted) || row.variable.values[row.index].toLowerCase() === wanted);
    const least = rows.length;
    if (!card.open && !wanted) rows = rows.filter((row, at) => at < SHOWN || row.chosen);
    card.more.hidden = Boolean(wanted) || least <= SHOWN;
    card.more.textContent = card.open ? `Show the first ${SHOWN} only` : `Show all ${least} countries`;
  } else {
    card.more.hidden = true;
  }
  keepingFocus(() => card.body.replaceChildren(...rows.map((row) => row.element)));
  const none = card.kind === 'country' && !rows.length;
  if (none) card.body.replaceChildren(el('tr', {role: 'row'}, el('td', {colspan: 6, class: 'empty-state', role: 'cell'}, wanted ? 'No country of that name in these records.' : 'No country is known in these records.')));
}

function showAttributes(now) {
  const errors = [];
  for (const card of cards) {
    const others = card.name ? [card.name] : [];
    const chosenAttributes = attributesBut(now, ...others);
    const selection = selectionBut(now, ...others);
    const found = card.name ? distribution(named.get(card.name), selection) : null;
    // A person with several flags is several records: shares of a group come from the actual counts, or not at all.
    const people = card.name ? null : knownPeople(now, card);
    const whole = card.name ? size(selection) - found[0] : common(selection, groups.get(card.group));
    const length = chosenAttributes.length + 1;
    const added = length > now.selected.size; // else its values stand in for the chosen one
    for (const row of card.rows) {
      row.chosen = now.selected.get(row.variable.name) === row.attribute;
      row.estimate = card.name ? found[row.index + 1] : common(selection, bitset(row.attribute));
      const real = actual(row.chosen && !card.name ? chosenAttributes : [...chosenAttributes, row.attribute]);
      row.count = real.count;
      row.told = real;
      const e = row.chosen ? null : error(row.estimate, real);
      if (e !== null && added) errors.push(Math.abs(e));
    }
    const most = Math.max(...card.rows.map((row) => Math.max(row.estimate, row.count || 0)));
    for (const row of card.rows) fillRow(row, {estimate: row.estimate, whole, people, group: !card.name, real: row.told, most, chosen: row.chosen});
    const long = length > data.length;
    const known = card.name
      ? `Known in ${count(whole)} of ${count(size(selection))} records.`
      : people
        ? `Shares are of the ${count(people)} people of whom at least one of these is known, and from actual counts.`
        : 'No share: it must not be computed from synthetic records, and how many people have at least one of these is published for other selections only.';
    card.note.textContent = long ? `${known} Actual counts are not reportable: ${length} attributes together are more than ${data.length}.` : known;
    card.note.hidden = false;
    order(card);
  }
  errors.sort((a, b) => a - b);
  const at = (part) => `${(100 * errors[Math.min(errors.length - 1, Math.floor(part * errors.length))]).toFixed(1)}%`;
  byId('attributes-intro').textContent = !errors.length
    ? 'None of these combinations has a reportable actual count.'
    : !now.selected.size
      ? 'Choose values to combine them; choose again to let go. Single values agree exactly with the actual counts, because the records are made so; combinations show how close the estimates are.'
      : `Choose values to combine them; choose again to let go. ${count(errors.length)} combinations of the selection with one more value have a reportable actual count; the error of the synthetic estimate is at most ${at(0.5)} for half of them and at most ${at(0.9)} for nine in ten.`;
}

// ---- map

let drawn;
const shownBy = {};
const LIMITS = [1, 100, 1000, 5000, 20000];
function showMap(now) {
  drawn ??= world(byId('world'), data.map, (code) => {
    const variable = named.get(state().by);
    const index = variable.values.indexOf(code);
    if (index >= 0) toggle(variable, index);
  });
  const variable = named.get(now.by);
  const others = attributesBut(now, now.by);
  const found = distribution(variable, selectionBut(now, now.by));
  const rows = variable.values.map((code, index) => ({code, index, label: variable.labels[index], estimate: found[index + 1], real: actual([...others, variable.first + index])}));
  const byCode = new Map(rows.map((row) => [row.code, row]));
  const shown = rows.filter((row) => row.estimate || row.real.count).sort((a, b) => b.estimate - a.estimate || (b.real.count || 0) - (a.real.count || 0) || (a.label < b.label ? -1 : 1));
  const value = (row) => (now.shade === 'actual' ? row.real.count || 0 : row.estimate);
  const limits = now.shade === 'actual' ? [data.k, ...LIMITS.filter((limit) => limit > data.k)] : LIMITS;
  const chosen = now.selected.get(now.by);
  drawn.paint(new Map(shown.map((row) => [row.code, shade(value(row), limits)])), (code) => {
    const row = byCode.get(code);
    if (!row || (!row.estimate && !row.real.count)) return `${row ? row.label : data.names[code] || code}\nno records`;
    return `${row.label}\nsynthetic ${count(row.estimate)}\nactual ${row.real.count === undefined ? untold(row.real) : `${count(row.real.count)} (error ${percent(error(row.estimate, row.real))})`}`;
  }, chosen ? text(chosen).value : null);
  legend(byId('map-scale'), [now.shade === 'actual' ? NOT : 'no records', ...ranges(limits)]);
  shownBy.by(now.by);
  shownBy.shade(now.shade);
  byId('map-title').textContent = `Map by ${variable.label.toLowerCase()}`;
  const body = el('tbody', {}, ...shown.map((row) => {
    const on = chosen === variable.first + row.index;
    return el('tr', {class: `${on ? 'chosen' : ''} ${drawn.has(row.code) ? '' : 'off'}`},
      el('th', {scope: 'row'}, el('button', {type: 'button', class: 'value', 'aria-pressed': String(on), 'data-key': row.code, click: () => toggle(variable, row.index)}, row.label)),
      el('td', {class: 'n'}, count(row.estimate)), ...actualCells(row.estimate, row.real));
  }));
  replace(byId('map-table'), shown.length ? el('table', {class: 'list'}, el('caption', {class: 'visually-hidden'}, `Countries by ${variable.label.toLowerCase()}`), head(variable.label, {bar: false, part: false}), body) : empty());
}

const empty = () => el('p', {class: 'empty-state'}, 'No record has all the selected values. Remove one to see more.');

// ---- corridors

function pairs(now) {
  const [from, to] = PLACES.map((name) => named.get(name));
  const [a, b] = PLACES.map((name) => codes.get(name));
  const width = to.values.length + 1;
  const found = new Uint32Array((from.values.length + 1) * width);
  each(selectionBut(now), (i) => { if (a[i] && b[i]) found[a[i] * width + b[i]]++; });
  const others = attributesBut(now, ...PLACES);
  const rows = [];
  found.forEach((estimate, key) => {
    if (!estimate) return;
    const [i, j] = [Math.floor(key / width) - 1, (key % width) - 1];
    rows.push({i, j, within: from.values[i] === to.values[j], estimate, from: from.labels[i], to: to.labels[j], codes: [from.values[i], to.values[j]], attributes: [...others, from.first + i, to.first + j]});
  });
  return rows.sort((x, y) => y.estimate - x.estimate || (x.from + x.to < y.from + y.to ? -1 : 1));
}

let longList = false;
function showCorridors(now) {
  shownBy.pairs(now.pairs);
  const all = pairs(now);
  const total = all.reduce((sum, row) => sum + row.estimate, 0);
  const across = all.filter((row) => !row.within).reduce((sum, row) => sum + row.estimate, 0);
  const rows = all.filter((row) => now.pairs === 'all' || row.within === (now.pairs === 'within'));
  byId('corridors-sum').textContent = total ? `${share(across, total)} of ${count(total)} synthetic records with both countries are across a border` : '';
  const some = longList ? rows : rows.slice(0, LONG);
  some.forEach((row) => { row.real = actual(row.attributes); });
  const most = Math.max(0, ...some.map((row) => Math.max(row.estimate, row.real.count || 0)));
  const body = el('tbody', {role: 'rowgroup'}, ...some.map((pair) => {
    const chosen = PLACES.every((name, at) => now.selected.has(name) && text(now.selected.get(name)).value === pair.codes[at]);
    const label = pair.within ? `Within ${pair.from}` : `${pair.from} → ${pair.to}`;
    const row = valueRow(label, '', () => writeHash((hash) => PLACES.forEach((name, at) => (chosen ? hash.delete(name) : hash.set(name, pair.codes[at])))));
    row.button.dataset.key = pair.codes.join();
    if (!pair.within) row.button.setAttribute('aria-label', `${pair.from} to ${pair.to}`);
    fillRow(row, {estimate: pair.estimate, whole: total, real: pair.real, most, chosen});
    return row.element;
  }));
  const more = rows.length > LONG ? el('button', {type: 'button', class: 'more', 'data-key': 'more', click: () => { longList = !longList; showCorridors(state()); }}, longList ? `Show the first ${LONG} only` : `Show all ${count(rows.length)} corridors`) : '';
  const table = el('table', {class: 'bars', role: 'table', 'aria-label': 'Corridors'}, columns(), head('Citizenship → country of exploitation'), body);
  replace(byId('corridors-table'), rows.length ? el('div', {}, table, more) : el('p', {class: 'empty-state'}, all.length ? 'No such corridor in the selected records.' : 'No selected record tells both countries.'));
}

// ---- time

const YEAR = 'yearOfRegistration';
function series(now) {
  const year = named.get(YEAR);
  const base = attributesBut(now, YEAR);
  const selection = selectionBut(now, YEAR);
  const variable = named.get(now.split);
  const parts = !now.split ? [['All selected records', null]]
    : variable ? variable.labels.map((label, index) => [label, variable.first + index])
      : flags.filter((flag) => flag.group === now.split).map((flag) => [flag.label, flag.first]);
  return parts.map(([label, attribute]) => {
    const own = variable && now.selected.has(variable.name) ? selectionBut(now, YEAR, variable.name) : selection;
    const others = variable ? attributesBut(now, YEAR, variable.name) : base;
    const found = distribution(year, attribute ? both(own, bitset(attribute)) : own);
    const combined = attribute && !others.includes(attribute) ? [...others, attribute] : others;
    return {label, points: year.values.map((value, index) => ({year: value, estimate: found[index + 1], real: actual([...combined, year.first + index])}))};
  });
}

function columnChart({label, points}, wide) {
  const [width, height, left, bottom] = [wide ? 1100 : 380, wide ? 330 : 190, wide ? 52 : 46, 22];
  const most = Math.max(1, ...points.map((point) => Math.max(point.estimate, point.real.count || 0)));
  const step = 10 ** Math.floor(Math.log10(most)) * (most / 10 ** Math.floor(Math.log10(most)) > 5 ? 2 : most / 10 ** Math.floor(Math.log10(most)) > 2 ? 1 : 0.5);
  const top = Math.max(1, Math.ceil(most / step) * step);
  const y = (value) => height - bottom - (value / top) * (height - bottom - 8);
  const slot = (width - left) / Math.max(1, points.length);
  const drawing = svg('svg', {viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': `${label}: records by year; “Tables only” has the same figures`});
  for (let value = 0; value <= top; value += Math.max(1, step)) {
    drawing.append(svg('line', {class: 'grid', x1: left, x2: width, y1: y(value), y2: y(value)}), svg('text', {x: left - 7, y: y(value) + 4, 'text-anchor': 'end'}, count(value)));
  }
  points.forEach((point, at) => {
    const x = left + at * slot;
    const every = Math.ceil(38 / slot);
    drawing.append(svg('rect', {class: 'column', x: x + slot * 0.16, width: slot * 0.68, y: y(point.estimate), height: Math.max(0, y(0) - y(point.estimate))}));
    if (point.real.count) drawing.append(svg('line', {class: 'real', x1: x + slot * 0.04, x2: x + slot * 0.96, y1: y(point.real.count), y2: y(point.real.count)}));
    if ((points.length - 1 - at) % every === 0) drawing.append(svg('text', {x: x + slot / 2, y: height - 5, 'text-anchor': 'middle'}, point.year));
    const hit = svg('rect', {class: 'hit', x, width: slot, y: 0, height: height - bottom});
    hit.addEventListener('pointermove', (event) => tip(event, `${point.year}\nsynthetic ${count(point.estimate)}\nactual ${point.real.count === undefined ? untold(point.real) : `${count(point.real.count)} (error ${percent(error(point.estimate, point.real))})`}`));
    hit.addEventListener('pointerleave', (event) => tip(event, ''));
    drawing.append(hit);
  });
  return drawing;
}

function showTime(now) {
  byId('time-by').value = now.split;
  const all = series(now);
  const any = all.filter((one) => one.points.some((point) => point.estimate || point.real.count));
  const wide = !now.split && innerWidth > 640; // drawn small, its letters would be unreadable
  byId('years').classList.toggle('single', !now.split);
  byId('years').replaceChildren(...(any.length ? any.map((one) => el('figure', {}, el('figcaption', {}, one.label), columnChart(one, wide))) : [empty()]));
  const body = el('tbody', {}, ...any.flatMap((one) => one.points.filter((point) => point.estimate || point.real.count).map((point) => {
    return el('tr', {}, el('th', {scope: 'row'}, now.split ? `${one.label}, ${point.year}` : point.year), el('td', {class: 'n'}, count(point.estimate)), ...actualCells(point.estimate, point.real));
  })));
  byId('time-table').hidden = !now.tables;
  byId('time-table').replaceChildren(any.length ? el('table', {class: 'list'}, el('caption', {class: 'visually-hidden'}, 'Records by year'), head('Year', {bar: false, part: false}), body) : empty());
}

// ---- missing values

function showMissing(now) {
  const selection = selectionBut(now);
  const all = size(selection);
  const rows = [
    ...variables.filter((one) => one.kind !== 'flag').map((one) => [one.label, distribution(one, selection)[0], distribution(one, null)[0], one.name]),
    ...[...groups].map(([group, any]) => [`${data.groups[group]}: nothing known`, all - common(selection, any), data.rows - popcount(any), group]),
  ];
  const table = el('table', {class: 'bars missing', role: 'table', 'aria-label': 'Missing values'},
    el('colgroup', {}, el('col'), el('col', {class: 'col-bar'}), el('col', {class: 'col-a'}), el('col', {class: 'col-a'}), el('col', {class: 'col-a'}), el('col', {class: 'col-a'})),
    el('thead', {role: 'rowgroup'}, el('tr', {role: 'row'}, ...[['Variable', ''], ['', 'bar'], ['Missing', 'n'], ['Selected', 'n'], ['All records', 'n'], ['People', 'n']].map(([name, kind]) => el('th', {scope: 'col', role: 'columnheader', class: kind}, name)))),
    el('tbody', {role: 'rowgroup'}, ...rows.map(([label, some, every, subject]) => {
      const fill = el('div', {class: 'fill'});
      const tick = el('div', {class: 'tick'});
      fill.style.width = `${all ? 100 * some / all : 0}%`;
      const people = (data.known[''] || {}).all;
      const lacking = people && subject in data.known[''] ? people - data.known[''][subject] : null;
      tick.hidden = lacking === null;
      tick.style.left = `${lacking === null ? 0 : 100 * lacking / people}%`;
      return el('tr', {role: 'row'}, el('th', {scope: 'row', role: 'rowheader'}, label), el('td', {class: 'bar', role: 'cell', 'aria-hidden': 'true'}, el('div', {class: 'track'}, fill, tick)),
        el('td', {class: 'n', role: 'cell'}, count(some)), el('td', {class: 'n', role: 'cell'}, share(some, all)), el('td', {class: 'n', role: 'cell'}, share(every, data.rows)), el('td', {class: 'n a', role: 'cell'}, lacking === null ? NOT : share(lacking, people)));
    })));
  byId('missing-table').replaceChildren(all ? table : empty());
}

// ---- what the records can be used for

function showUses(now) {
  const chosen = now.use;
  byId('use-of').value = chosen;
  const at = variables.findIndex((one) => one.name === chosen);
  const own = new Map(data.pairs.filter(([a, b]) => a === at || b === at).map(([a, b, reportable, off]) => [a === at ? b : a, [reportable, off]]));
  const use = (off) => (off === undefined ? 3 : off <= data.limits[0] ? 0 : off <= data.limits[1] ? 1 : 2);
  const names = Object.keys(data.uses);
  const rows = variables.map((one, i) => [one, ...(own.get(i) || [0, undefined])]).filter(([one]) => one.name !== chosen);
  rows.sort((a, b) => use(a[2]) - use(b[2]) || (a[2] ?? 0) - (b[2] ?? 0));
  const body = rows.map(([one, reportable, off]) => el('tr', {}, el('th', {scope: 'row'}, one.label), el('td', {class: `use use-${use(off)}`}, names[use(off)]),
    el('td', {class: 'n'}, off === undefined ? '–' : `${(100 * off).toFixed(1)}%`), el('td', {class: 'n'}, count(reportable))));
  byId('use-table').replaceChildren(el('table', {class: 'list'}, el('caption', {class: 'visually-hidden'}, `Uses of ${variables[at].label} with each other variable`),
    el('thead', {}, el('tr', {}, ...[['With', ''], ['Use of the records', ''], ['Error', 'n'], ['Combinations compared', 'n']].map(([name, kind]) => el('th', {scope: 'col', class: kind}, name)))), el('tbody', {}, ...body)));
}

// ---- what goes on every view

function showSelection(now) {
  const chosen = [...now.selected];
  const chips = chosen.map(([, attribute]) => {
    const {variable, label} = text(attribute);
    const of = variable.kind === 'flag' ? '' : `${variable.label}: `;
    return el('li', {}, el('button', {type: 'button', class: 'chip', 'data-key': variable.name, 'aria-label': `Remove ${of}${label}`, click: () => toggle(variable, attribute - variable.first)},
      el('span', {class: 'of'}, of), label, el('span', {class: 'x', 'aria-hidden': 'true'}, '×')));
  });
  if (!chips.length) chips.push(el('li', {class: 'empty'}, 'All records. Choose a value to compare.'));
  const had = byId('chips').contains(document.activeElement);
  byId('chips').replaceChildren(...chips);
  if (had) (byId('chips').querySelector('button') || byId('clear')).focus({preventScroll: true});
  const estimate = size(selectionBut(now));
  const real = actual(chosen.map(([, attribute]) => attribute));
  byId('sum-synthetic').textContent = count(estimate);
  putActual(byId('sum-actual'), real, chosen.length ? NOT : 'choose a value');
  const e = error(estimate, real);
  const far = e !== null && Math.abs(e) > data.limits[1];
  byId('sum-error').textContent = e === null ? '–' : `${far ? '⚠ ' : ''}${percent(e)}`;
  byId('sum-error').classList.toggle('far', far);
  const said = `${count(estimate)} synthetic records. Actual count ${!chosen.length ? 'appears once a value is chosen' : real.count === undefined ? untold(real) : `${count(real.count)}, error ${percent(e)}`}.`;
  if (byId('status').textContent !== said) byId('status').textContent = said;
  byId('clear').disabled = !chosen.length;
  tell(now.unknown.length ? `This link names ${now.unknown.join(', ')}, which this release does not hold in that form; the rest of the selection is shown.` : '');
}

const SHOW = {attributes: showAttributes, map: showMap, corridors: showCorridors, time: showTime, missing: showMissing, uses: showUses, method: () => {}};
function show() {
  const start = performance.now();
  const now = state();
  document.body.classList.toggle('as-tables', now.tables);
  byId('as-tables').setAttribute('aria-pressed', String(now.tables));
  shownBy.view(now.view);
  showSelection(now);
  SHOW[now.view](now);
  document.documentElement.dataset.answered = (performance.now() - start).toFixed(1);
}

// ---- downloads

function recordLines(now) {
  const lines = [csvLine(variables.map((variable) => variable.name))];
  const cells = variables.map((variable) => {
    if (variable.kind === 'flag') { const has = bitset(variable.first); return (i) => (has[i >>> 5] >>> (i & 31) & 1 ? '1' : ''); }
    const column = codes.get(variable.name);
    const values = ['', ...variable.values.map(quoted)];
    return (i) => values[column[i]];
  });
  each(selectionBut(now), (i) => lines.push(`${cells.map((cell) => cell(i)).join(',')}\n`));
  return lines;
}

function figureLines(now) {
  const lines = [csvLine(['selection', 'variable', 'value', 'label', 'synthetic', 'actual', 'error_percent', 'why_no_actual'])];
  for (const card of cards) {
    for (const row of card.rows) {
      const others = attributesBut(now, ...(card.name ? [card.name] : [row.variable.name])).map(text).map((one) => `${one.variable.name}=${one.value}`).join(' & ');
      const e = error(row.estimate, row.told);
      lines.push(csvLine([others, row.variable.name, row.variable.values[row.index], row.label, row.estimate, row.count, e === null ? '' : (100 * e).toFixed(1), row.told.why]));
    }
  }
  return lines;
}

// ---- start

function readCounts(bytes, {rows, least}) {
  let at = 0;
  const next = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  const keys = new Float64Array(rows);
  for (let i = 0, key = 0; i < rows; i++) keys[i] = key += next();
  const found = new Uint32Array(rows);
  for (let i = 0; i < rows; i++) found[i] = next();
  return {keys, counts: found, least};
}

function readRecords(bytes) {
  let at = 0;
  for (const variable of variables) {
    const width = variable.kind === 'flag' ? 0 : variable.values.length < 256 ? 1 : 2;
    const length = width ? width * data.rows : 4 * words;
    const own = bytes.slice(at, at + length).buffer;
    at += length;
    if (!width) bits.set(variable.first, new Uint32Array(own));
    else codes.set(variable.name, width === 1 ? new Uint8Array(own) : new Uint16Array(own));
  }
  for (const flag of flags) {
    const any = groups.get(flag.group) || new Uint32Array(words);
    bitset(flag.first).forEach((word, i) => { any[i] |= word; });
    groups.set(flag.group, any);
  }
}

function sayWhatIsEmbedded() {
  const parts = data.embedded.map((one) => (one.rows === one.of ? `all ${count(one.of)} of length ${one.length}` : `${count(one.rows)} of the ${count(one.of)} of length ${one.length}, those of at least ${count(one.least)}`));
  const left = data.length - data.embedded.length;
  byId('embedded').textContent = `Of the reportable counts this page holds ${parts.join('; ') || 'none'}${left > 0 && parts.length ? '; none that is longer' : ''}. The rest is in the file of aggregates of the release.`.replace(left > 0 || data.embedded.some((one) => one.rows < one.of) || !parts.length ? '' : ' The rest is in the file of aggregates of the release.', '');
}

async function start() {
  readRecords(await unpack('records'));
  for (const said of data.embedded) counts[said.length] = readCounts(await unpack(`counts-${said.length}`), said);
  makeCards();
  sayWhatIsEmbedded();
  byId('definitions').append(...variables.flatMap((one) => [el('dt', {}, one.label, ' ', el('code', {}, one.name)), el('dd', {}, one.definition)]));
  shownBy.view = tabs(document.querySelector('[role=tablist]'), (view) => set('view', view));
  shownBy.by = choice(byId('map-by'), PLACES.map((name) => [name, named.get(name).label]), (value) => set('by', value));
  shownBy.shade = choice(byId('map-shade'), [['synthetic', 'Synthetic estimate'], ['actual', 'Actual count']], (value) => set('shade', value));
  shownBy.pairs = choice(byId('corridors-kind'), [['all', 'All'], ['across', 'Across borders'], ['within', 'Within a country']], (value) => set('pairs', value));
  byId('time-by').append(el('option', {value: ''}, 'nothing'), ...splits().map((name) => el('option', {value: name}, named.has(name) ? named.get(name).label : data.groups[name])));
  byId('time-by').addEventListener('change', (event) => set('split', event.target.value));
  byId('use-of').append(...variables.map((one) => el('option', {value: one.name}, one.label)));
  byId('use-of').addEventListener('change', (event) => set('use', event.target.value));
  byId('uses-meaning').append(...Object.entries(data.uses).map(([use, said], i) => el('li', {}, el('b', {class: `use-${i}`}, use), ' ', said)));
  byId('clear').addEventListener('click', () => writeHash((hash) => named.forEach((_, name) => hash.delete(name))));
  byId('as-tables').addEventListener('click', () => set('tables', state().tables ? '' : '1'));
  byId('records-csv').addEventListener('click', () => download(`ctdc_${data.version}_synthetic_selection.csv`, recordLines(state())));
  byId('figures-csv').addEventListener('click', () => { showAttributes(state()); download(`ctdc_${data.version}_figures.csv`, figureLines(state())); });
  byId('skip').addEventListener('click', (event) => { event.preventDefault(); byId(state().view).focus(); });
  addEventListener('hashchange', show);
  byId('loading').remove();
  show();
  document.documentElement.dataset.ready = 'yes';
}

start().catch((problem) => {
  byId('loading').remove();
  tell(`The data of this page could not be unpacked (${problem.name}). Use a current browser, or the CSV files of the release.`);
});

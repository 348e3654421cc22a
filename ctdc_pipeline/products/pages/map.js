// The map: profiles of countries, shaded by records or by the share of one value.

const subjects = new Map(data.subjects.map((subject) => [subject.name, subject]));
const BY_COUNT = [data.k, 100, 1000, 5000, 20000].filter((limit, at) => !at || limit > data.k);
const BY_SHARE = [0, 20, 40, 60, 80];
const SHARES = ['below 20%', '20% to below 40%', '40% to below 60%', '60% to below 80%', '80% or more'];
const tenths = (value) => `${value.toFixed(1)}%`;
// A value is [count, percentage or null, from, to]: of a small group only the interval is told.
const percentage = ([, value, from, to]) => (value === null ? `${from.toFixed(1)}–${tenths(to)}` : tenths(value));
const shown = {};

function state() {
  const hash = readHash();
  const by = data.roles.some((role) => role.name === hash.get('by')) ? hash.get('by') : data.roles[0].name;
  const [of, value] = (hash.get('shade') || '').split('=');
  const measure = subjects.get(of)?.labels[value] ? {of, value} : null;
  return {by, measure, country: hash.get('country'), tables: hash.get('tables') === '1', profiles: data.profiles[by]};
}

const set = (name, value) => writeHash((hash) => (value ? hash.set(name, value) : hash.delete(name)));
const choose = (code) => set('country', readHash().get('country') === code ? '' : code);
const told = (profile, measure) => profile?.profile[measure.of]?.values[measure.value];

// On a narrow screen the profile is far from the table, and begins above it.
function inSight(box) {
  const {top} = box.getBoundingClientRect();
  if (top < 0 || top > innerHeight) box.scrollIntoView();
}

function measures() {
  const select = byId('measure');
  select.append(el('option', {value: ''}, 'number of records'));
  for (const subject of data.subjects) {
    const options = Object.entries(subject.labels).map(([value, label]) => el('option', {value: `${subject.name}=${value}`}, `share: ${label}`));
    if (options.length) select.append(el('optgroup', {label: subject.label}, ...options));
  }
  select.addEventListener('change', () => set('shade', select.value));
}

function showMap(now) {
  const shades = new Map();
  const limits = now.measure ? BY_SHARE : BY_COUNT;
  for (const [code, profile] of Object.entries(now.profiles)) {
    const value = now.measure ? told(profile, now.measure)?.[1] : profile.count;
    if (value !== undefined && value !== null) shades.set(code, shade(value, limits));
  }
  const label = now.measure && subjects.get(now.measure.of).labels[now.measure.value];
  shown.world.paint(shades, (code) => {
    const profile = now.profiles[code];
    if (!profile) return `${data.names[code]}\nnot reportable`;
    const value = now.measure && told(profile, now.measure);
    const more = !now.measure ? '' : value ? `\n${label}: ${percentage(value)} of ${count(profile.profile[now.measure.of].of)}` : `\n${label}: not reportable`;
    return `${profile.name}\n${count(profile.count)} records${more}`;
  }, now.country);
  legend(byId('scale'), now.measure ? ['not reportable, or too uncertain', ...SHARES] : [`not reportable (below ${data.k}, or none)`, ...ranges(BY_COUNT)]);
}

function showTable(now) {
  const wanted = byId('find').value.trim().toLowerCase();
  const rows = Object.entries(now.profiles).filter(([code, profile]) => !wanted || profile.name.toLowerCase().includes(wanted) || code.toLowerCase() === wanted);
  const value = ([, profile]) => (now.measure ? told(profile, now.measure)?.[1] ?? -1 : profile.count);
  rows.sort((a, b) => value(b) - value(a) || b[1].count - a[1].count || (a[1].name < b[1].name ? -1 : 1));
  const label = now.measure && subjects.get(now.measure.of).labels[now.measure.value];
  byId('table-title').textContent = `By ${data.roles.find((role) => role.name === now.by).label.toLowerCase()}`;
  const heads = ['Country', 'Records', ...(label ? [`${label}, of known`] : [])];
  const body = rows.map(([code, profile]) => {
    const own = now.measure && told(profile, now.measure);
    const cells = !now.measure ? [] : own ? [el('td', {class: 'n'}, el('b', {}, percentage(own)), ` of ${count(profile.profile[now.measure.of].of)}`)] : [el('td', {class: 'n not'}, 'not reportable')];
    return el('tr', {class: `${code === now.country ? 'chosen' : ''} ${shown.world.has(code) ? '' : 'off'}`},
      el('th', {scope: 'row'}, el('button', {type: 'button', class: 'value', 'aria-pressed': String(code === now.country), 'data-key': code, click: () => { choose(code); inSight(byId('profile')); }}, profile.name)),
      el('td', {class: 'n'}, count(profile.count)), ...cells);
  });
  replace(byId('table'), body.length
    ? el('table', {class: 'list'}, el('thead', {}, el('tr', {}, ...heads.map((name, at) => el('th', {scope: 'col', class: at ? 'n' : ''}, name)))), el('tbody', {}, ...body))
    : el('p', {class: 'empty-state'}, wanted ? 'No reportable country of that name.' : 'No country has a reportable count.'));
}

function showProfile(now) {
  const box = byId('profile');
  const profile = now.profiles[now.country];
  if (!profile) {
    const name = data.names[now.country];
    box.replaceChildren(el('h2', {}, name || 'Profile of a country'), el('p', {class: 'empty-state'}, name
      ? `${name} has no reportable count by ${data.roles.find((role) => role.name === now.by).label.toLowerCase()}: fewer than ${data.k} records, or none.`
      : 'Choose a country on the map or in the table.'));
    return;
  }
  const listOf = (subject, values) => [...Object.keys(subject.labels).filter((value) => value in values), ...Object.keys(values).filter((value) => !(value in subject.labels)).sort()];
  const parts = data.subjects.filter((subject) => profile.profile[subject.name]).map((subject) => {
    const {of, values} = profile.profile[subject.name];
    const hidden = Object.keys(subject.labels).filter((value) => !(value in values)).length;
        const rows = listOf(subject, values).map((value) => {
      const fill = el('div', {class: 'fill'});
      fill.style.width = `${values[value][1] ?? 0}%`;
      return el('tr', {}, el('th', {scope: 'row'}, subject.labels[value] || value), el('td', {class: 'bar', 'aria-hidden': 'true'}, el('div', {class: 'track'}, fill)),
        el('td', {class: 'n'}, count(values[value][0])), el('td', {class: 'n'}, percentage(values[value])));
    });
    return el('section', {}, el('h3', {}, subject.label), el('p', {class: 'of'}, `of ${count(of)} in which it is known${hidden ? `; ${hidden} ${hidden > 1 ? 'values' : 'value'} not reportable` : ''}`),
      el('table', {class: 'profile-bars', 'aria-label': subject.label}, el('tbody', {}, ...rows)));
  });
  box.replaceChildren(el('h2', {}, profile.name), el('p', {}, `${count(profile.count)} records by ${data.roles.find((role) => role.name === now.by).label.toLowerCase()}`), el('div', {class: 'parts'}, ...parts),
    ...(parts.length ? [] : [el('p', {class: 'empty-state'}, 'Nothing more is reportable.')]));
}

function show() {
  const now = state();
  document.body.classList.toggle('as-tables', now.tables);
  byId('as-tables').setAttribute('aria-pressed', String(now.tables));
  shown.by(now.by);
  byId('measure').value = now.measure ? `${now.measure.of}=${now.measure.value}` : '';
  showMap(now);
  showTable(now);
  showProfile(now);
  byId('status').textContent = now.profiles[now.country] ? `${now.profiles[now.country].name}: ${count(now.profiles[now.country].count)} records` : '';
}

measures();
shown.world = world(byId('world'), data.map, choose);
shown.by = choice(byId('by'), data.roles.map((role) => [role.name, role.label]), (value) => set('by', value));
byId('as-tables').addEventListener('click', () => set('tables', state().tables ? '' : '1'));
byId('find').addEventListener('input', () => showTable(state()));
byId('skip').addEventListener('click', (event) => { event.preventDefault(); byId('main').focus(); });
addEventListener('hashchange', show);
show();
document.documentElement.dataset.ready = 'yes';

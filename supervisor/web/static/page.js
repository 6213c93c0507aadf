// The script updates the page: a stream of server-sent events contains the changed
// elements, and this script replaces them. The server creates all HTML, and escapes the
// text of guests. Without this script the page is static, and works.
'use strict';

const byID = (id) => document.getElementById(id);
const root = document.documentElement;
const link = byID('link');
const pause = byID('pause');
const dialog = byID('dialog');

let source = null;   // the stream; null while paused or hidden
let skew = 0;        // the server's clock minus ours, in ms
let heard = 0;       // when the last message arrived, by performance.now()
let paused = false;
let again = 0;       // the timer that opens the stream again

// ---- The stream

function open() {
  close();
  source = new EventSource(root.dataset.stream);
  source.onopen = source.onmessage = source.onerror = null;
  source.addEventListener('message', (e) => {
    heard = performance.now();
    apply(JSON.parse(e.data));
    tick();
  });
  source.addEventListener('beat', () => { heard = performance.now(); });
  source.addEventListener('gone', () => { if (!dialog.open) location.reload(); }); // it says why
  source.addEventListener('error', () => {
    // A browser reconnects by itself after a lost connection, but not after a refusal.
    if (source && source.readyState === EventSource.CLOSED) {
      clearTimeout(again);
      again = setTimeout(open, 3000);
    }
    status();
  });
}

function close() {
  clearTimeout(again);
  if (source) source.close();
  source = null;
}

function apply(update) {
  if (update.boot !== root.dataset.boot) {
    location.reload(); // another process does not accept our forms' secret
    return;
  }
  skew = update.now - Date.now();
  document.title = update.title;
  const focused = document.activeElement;
  const fresh = new Map();
  for (const [id, html] of update.set || []) {
    const element = parse(html);
    const old = byID(id);
    if (old) morph(old, element); else fresh.set(id, element);
  }
  for (const [id, ids] of Object.entries(update.lists || {})) arrange(byID(id), ids, fresh);
  if (focused && focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
}

function parse(html) {
  const template = document.createElement('template');
  template.innerHTML = html;
  return template.content.firstElementChild;
}

// arrange sets a list's children to the named elements, in that order.
function arrange(list, ids, fresh) {
  if (!list) return;
  const wanted = new Set(ids);
  for (const child of [...list.children]) if (!wanted.has(child.id)) child.remove();
  let at = list.firstElementChild;
  for (const id of ids) {
    const element = fresh.get(id) || byID(id);
    if (!element) continue;
    if (element === at) {
      at = at.nextElementSibling;
    } else {
      list.insertBefore(element, at);
      if (element.dataset.say && settled) say(element.dataset.say);
    }
  }
  settled = settled || list.id === 'attention';
}
let settled = false; // elements of the first update are not highlighted as new

// morph changes an element to equal another one, and keeps unchanged parts: a selection,
// the focus, an open fold.
function morph(old, fresh) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) {
    old.replaceWith(fresh);
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && name !== 'open') old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value && name !== 'open') old.setAttribute(name, value);
  }
  if (isClock(old)) return;
  const from = [...old.childNodes];
  const to = [...fresh.childNodes];
  to.forEach((node, i) => { if (i < from.length) morph(from[i], node); else old.append(node); });
  from.slice(to.length).forEach((node) => node.remove());
}

// ---- Clocks

const isClock = (element) => element.nodeName === 'TIME' && (element.dataset.since || element.dataset.until);

// age formats a duration as the server does.
function age(ms) {
  const s = Math.floor(Math.max(0, ms) / 1000);
  const two = (a, unit, b, small) => (b ? `${a} ${unit} ${b} ${small}` : `${a} ${unit}`);
  if (s < 60) return `${s} s`;
  if (s < 3600) return two(Math.floor(s / 60), 'min', s % 60, 's');
  if (s < 86400) return two(Math.floor(s / 3600), 'h', Math.floor((s % 3600) / 60), 'min');
  return two(Math.floor(s / 86400), 'd', Math.floor((s % 86400) / 3600), 'h');
}

function remaining(ms) {
  if (ms < 50) return 'now';
  return ms < 10000 ? `in ${(ms / 1000).toFixed(1)} s` : `in ${age(ms)}`;
}

function tick() {
  const now = Date.now() + skew;
  for (const clock of document.querySelectorAll('time[data-since], time[data-until]')) {
    const text = clock.dataset.since ? age(now - clock.dataset.since) : remaining(clock.dataset.until - now);
    if (clock.textContent !== text) clock.textContent = text;
  }
  status();
}

// status shows whether the page is up to date.
function status() {
  const silent = performance.now() - heard;
  const live = source && source.readyState === EventSource.OPEN && heard > 0 && silent < 8000;
  let lamp = 'live';
  let text = 'live';
  if (paused) {
    lamp = 'still'; text = 'paused';
  } else if (!live && heard === 0) {
    lamp = 'still'; text = 'connecting';
  } else if (!live) {
    lamp = 'stale'; text = `stale for ${age(silent)}`;
  }
  link.firstElementChild.className = 'lamp ' + lamp;
  const said = byID('link-text');
  said.className = lamp === 'stale' ? 'stale-text' : '';
  if (said.textContent !== text) said.textContent = text;
  document.body.classList.toggle('lost', lamp === 'stale');
}

function say(text) { byID('say').textContent = text; }

// ---- Actions of the user

// look changes the view: the page's address, and the contents of the stream.
function look(query) {
  const address = new URL(query, location.href);
  history.replaceState(null, '', address);
  const stream = new URL(root.dataset.stream, location.href);
  for (const name of [...stream.searchParams.keys()]) if (name !== 'view' && name !== 'id') stream.searchParams.delete(name);
  for (const [name, value] of address.searchParams) stream.searchParams.set(name, value);
  root.dataset.stream = stream.pathname + stream.search;
  for (const control of document.querySelectorAll('form.filter [name]')) { // as in the address
    const value = address.searchParams.get(control.name) || '';
    if (control.type === 'checkbox') control.checked = value !== '';
    else if (control !== document.activeElement) control.value = value;
  }
  if (paused) toggle(); else open();
}

function toggle() {
  paused = !paused;
  pause.textContent = paused ? 'Go on' : 'Pause';
  if (paused) close(); else open();
  status();
}

async function ask(address) {
  const page = await (await fetch(address, { headers: { Accept: 'text/html' } })).text();
  show(new DOMParser().parseFromString(page, 'text/html'));
  if (!dialog.open) dialog.showModal();
}

// show puts the confirmation page of the server into the dialog.
function show(page) {
  const form = page.getElementById('confirm');
  dialog.replaceChildren(form || Object.assign(document.createElement('p'), { textContent: page.body.textContent }));
}

document.addEventListener('click', (e) => {
  if (e.button || e.metaKey || e.ctrlKey || e.shiftKey || e.defaultPrevented) return;
  const a = e.target.closest('a');
  if (!a) return;
  if (a.hasAttribute('data-confirm')) {
    e.preventDefault();
    ask(a.href).catch((problem) => say(String(problem)));
  } else if (a.hasAttribute('data-cancel') && dialog.open) {
    e.preventDefault();
    dialog.close();
  } else if (a.hasAttribute('data-view')) {
    e.preventDefault();
    look(a.getAttribute('href'));
  }
});

document.addEventListener('submit', async (e) => {
  const form = e.target;
  const body = new URLSearchParams(new FormData(form));
  if (form.id === 'confirm' && dialog.open) {
    e.preventDefault();
    const button = form.querySelector('button');
    button.disabled = true;
    try {
      const answer = await fetch(form.action, { method: 'POST', body });
      const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
      if (!answer.ok || page.getElementById('confirm')) {
        show(page);
        dialog.querySelector('a, button')?.focus();
      } else {
        // The page of something that is not there any more leads to the page that follows.
        const next = new URL(answer.url).pathname;
        if (form.action.startsWith(location.origin + location.pathname + '/') && next !== location.pathname) {
          close(); // or the stream says that it is gone, and the page reloads instead
          location.assign(next);
        } else {
          dialog.close();
          say('done');
        }
      }
    } catch (problem) {
      button.disabled = false;
      say(String(problem));
    }
  } else if (form.id === 'trigger-form') {
    e.preventDefault();
    try {
      const page = await (await fetch(form.action, { method: 'POST', body })).text();
      const answer = new DOMParser().parseFromString(page, 'text/html').getElementById('answer');
      if (answer) byID('answer').replaceWith(answer);
    } catch (problem) {
      say(String(problem));
    }
  } else if (form.classList.contains('filter') && !form.hasAttribute('data-load')) {
    e.preventDefault();
    look('?' + body);
  }
});

let typing = 0;
for (const filter of document.querySelectorAll('form.filter:not([data-load])')) {
  filter.addEventListener('input', () => {
    clearTimeout(typing);
    typing = setTimeout(() => filter.requestSubmit(), 200);
  });
}

pause.hidden = false;
pause.addEventListener('click', toggle);
document.addEventListener('visibilitychange', () => {
  if (document.hidden) close(); else if (!paused && !source) open();
});
// A page that is left closes its connection: a browser has six for each server.
addEventListener('pagehide', close);
addEventListener('pageshow', (e) => { if (e.persisted && !paused) open(); });
setInterval(tick, 250);
open();

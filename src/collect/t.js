// TrustData browser script. Without analytics consent it keeps nothing on the device and reads nothing kept there.
(function () {
  'use strict';

  const VISITOR = '_trdt_vid';
  const USER = '_trdt_uid';
  const SECRETS = '(e-?)?mail|phone|tel|mobile|((access|id|auth)_)?token|auth|jwt|password|pwd|passwd|secret|api_?key|otp|ssn';
  const CLICK_IDS = 'gclid|gbraid|wbraid|gclsrc|dclid|fbclid|ttclid|msclkid|li_fat_id|epik|sccid|rdt_cid|twclid|igshid|' +
    'yclid|s_kwcid|mc_eid|_branch_match_id|vero_id';
  const AD_COOKIES = '_fb[pc]|_ttp|_epik|_scid|_ga(?:_\\w+)?|_rdt_uuid|_uetvid|li_fat_id';

  const queue = window.trustdata || [];
  if (queue._loaded) return;
  const stub = [].concat(queue);
  const home = (document.currentScript || stub).src || location.href;

  const consent = {};
  const waiting = new Set(); // to send again
  let early = []; // commands that wait for init; then null
  let attributionId, endpoint, sameSite, userId, linkedId, url, path, viewedPath, viewport, debugging;
  let visitorId = null; // only with consent
  let anonymousId = null; // the server's answer without it
  let referrer = document.referrer;

  // Nothing of ours may throw into the page.
  function guard(action) {
    return (...args) => {
      try {
        return action(...args);
      } catch (error) {
        log(error);
      }
    };
  }

  function log(...what) {
    if (debugging) console.log('[trustdata]', ...what);
  }

  function granted() {
    return consent.analytics === true;
  }

  const readCookies = guard(names => {
    const found = {};
    ('; ' + document.cookie).replace(RegExp('; (' + names + ')=([^;]*)', 'g'), (_, name, value) => found[name] = value);
    return found;
  });

  const readCookie = guard(name => decodeURIComponent(readCookies(name)[name] || ''));

  const writeCookie = guard((name, value, domain, age) => {
    document.cookie = name + '=' + encodeURIComponent(value) + '; path=/; SameSite=Lax; max-age=' + age +
      (domain && '; domain=' + domain) + (location.protocol === 'https:' ? '; Secure' : '');
  });

  // Broadest first; '' is the host alone.
  function domains() {
    const labels = location.hostname.split('.');
    return labels.map((_, at) => labels.slice(-at - 1).join('.')).concat('');
  }

  const storage = guard((method, ...args) => localStorage[method](...args));

  // On the broadest domain that the browser takes; public suffixes it refuses silently.
  function keep(name, value) {
    storage(value ? 'setItem' : 'removeItem', name, value);
    if (value && readCookie(name) === value) return; // the server's lives longer than a script's
    domains().forEach(domain => writeCookie(name, '', domain, 0));
    if (value) domains().some(domain => {
      writeCookie(name, value, domain, 34560000); // 400 days
      return readCookie(name);
    });
  }

  function kept(name) {
    return readCookie(name) || storage('getItem', name);
  }

  // UUIDv4; without crypto the server's answer is the id.
  const newId = guard(() => {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    const hex = [...bytes].map(byte => (byte + 256).toString(16).slice(1)).join('');
    return hex.replace(/(.{8})(.{4}).(.{3}).(.{3})/, '$1-$2-4$3-a$4-');
  });

  function setConsent(flags) {
    for (const flag in flags) if (typeof flags[flag] === 'boolean') consent[flag] = flags[flag];
    if (granted()) {
      visitorId = visitorId || kept(VISITOR) || newId() || null;
      keep(VISITOR, visitorId);
      setUserId(userId || kept(USER));
      link();
    } else {
      visitorId = null;
      forget();
    }
  }

  function forget() {
    if (consent.analytics === false) [VISITOR, USER].forEach(name => keep(name)); // unknown removes nothing
  }

  function setUserId(id) {
    userId = id ? String(id) : null;
    if (granted() || !userId) keep(USER, userId);
  }

  function link() {
    if (!visitorId || !anonymousId || anonymousId === linkedId) return;
    linkedId = anonymousId;
    track('identity_link', { previous_visitor_id: anonymousId, new_visitor_id: visitorId, reason: 'consent_upgrade' });
  }

  function learn(id, anonymous) {
    if (!id) return;
    if (granted() && !visitorId) keep(VISITOR, visitorId = id);
    else if (anonymous) {
      anonymousId = id;
      link(); // consent may have come first
    }
  }

  function mask(address) {
    const names = granted() ? SECRETS : SECRETS + '|' + CLICK_IDS;
    return String(address || '')
      .replace(/%(2d|3\d|[46][1-9a-f]|5[\daf]|7[\da])/gi, code => decodeURIComponent(code))
      .replace(/\/\/[^/?#]*@/g, '//') // user:password@
      // Also in an encoded URL.
      .replace(new RegExp('(([?&#]|%3f|%26|%23)[!/]*(' + names + ')(=|%3d))[^&#]*', 'gi'), '$1[MASKED]')
      .slice(0, 4096);
  }

  function pathNow() {
    return location.pathname + location.search;
  }

  function track(name, props) {
    if (typeof name !== 'string') return;
    if (path && path !== pathNow()) referrer = url; // a new hash is no new page
    path = pathNow();
    url = location.href;
    viewport = viewport || innerWidth + 'x' + innerHeight; // once: it can cost a layout
    const fields = Object.assign({
      user_id: userId,
      event_time: Math.floor(Date.now() / 1000),
      page_location: url,
      page_referrer: referrer,
      page_title: document.title,
      raw_user_agent: navigator.userAgent.slice(0, 1000),
      screen_resolution: screen.width + 'x' + screen.height,
      viewport_resolution: viewport,
      timezone: Intl.DateTimeFormat().resolvedOptions().timeZone,
      timezone_offset: new Date().getTimezoneOffset(),
      browser_language: navigator.language
    }, props, { // not for props to override
      browser_cookies: consent.advertising === true ? readCookies(AD_COOKIES) : null,
      event_name: name,
      attribution_id: attributionId,
      visitor_id: visitorId,
      lib: 'trustdata.js',
      lib_version: '1.0.0',
      consent
    });
    fields.page_location = mask(fields.page_location);
    fields.page_referrer = mask(fields.page_referrer);
    if (!granted()) {
      fields.user_id = null; // whoever told it
      fields.page_referrer = fields.page_referrer.match(/^([\w-]+:\/\/[^/?#]+)?/)[0];
    }
    fields.page_title = String(fields.page_title || '').slice(0, 512);
    // A cyclic or huge value costs its key, not the purchase.
    const parts = [];
    Object.keys(fields).forEach(guard(key => {
      const json = JSON.stringify(fields[key], (_, value) => typeof value === 'bigint' ? String(value) : value);
      if (json && json !== 'null' && json.length < 65536) parts.push(JSON.stringify(key) + ':' + json);
    }));
    const body = '{' + parts + '}';
    if (name === 'page_view') viewedPath = path;
    log(name, body);
    send({ body, anonymous: !visitorId, retries: 0 });
  }

  async function send(event) {
    let status = 0;
    try {
      const response = await fetch(endpoint, {
        method: 'POST',
        body: event.body, // a string goes as text/plain: no preflight
        credentials: sameSite && granted() ? 'include' : 'omit',
        referrerPolicy: 'origin',
        keepalive: event.body.length < 20000 // refused past 64 KiB
      });
      status = response.status;
      forget(); // a yes taken back meanwhile: the answer may have set the cookie anew
      learn((await response.json()).visitor_id, event.anonymous);
    } catch (error) {
      log(error);
    }
    if (status && status !== 429 && status < 500 || event.retries++ > 2 || waiting.size > 49) return;
    waiting.add(event);
    setTimeout(() => waiting.delete(event) && send(event), 500 * Math.pow(4, event.retries) * (1 + Math.random()));
  }

  // A beacon carries cookies, hence the consent.
  function flush() {
    waiting.forEach(event => {
      waiting.delete(event);
      if (!granted() || !guard(() => navigator.sendBeacon(endpoint, event.body))()) send(event);
    });
  }

  function viewPage() {
    if (viewedPath !== pathNow()) track('page_view');
  }

  function routeChanged() {
    setTimeout(guard(viewPage), 0); // for the title
  }

  function start(options) {
    const commands = early;
    early = null;
    setConsent(options.consent);
    commands.forEach(command => command());
    addEventListener('pagehide', guard(flush));
    document.addEventListener('visibilitychange', guard(() => document.hidden && flush()));
    if (options.sendPageView === false) return;
    // The site may have queued its own.
    if (!stub.some(command => command && command[1] === 'page_view')) viewPage();
    addEventListener('popstate', routeChanged);
    ['pushState', 'replaceState'].forEach(name => {
      // Where it lives: the site's own wrappers all run.
      const owner = history.hasOwnProperty(name) ? history : History.prototype;
      const original = owner[name];
      owner[name] = function () {
        const result = original.apply(this, arguments);
        routeChanged();
        return result;
      };
    });
  }

  function init(id, options) {
    if (attributionId || !id) return;
    options = options || {};
    endpoint = new URL(options.apiPath || '/api/events', options.apiHost || home);
    attributionId = id;
    const site = url => url.hostname.split('.').slice(-2).join();
    sameSite = site(endpoint) === site(location);
    const ignored = String(options.ignoreDomains).toLowerCase().replace(/\s/g, '').split(',');
    if (ignored.includes(location.hostname)) early = { push() {} };
    else if (document.prerendering) document.addEventListener('prerenderingchange', guard(() => start(options)));
    else start(options);
  }

  function later(action) {
    const safe = guard(action);
    return (...args) => early ? void early.push(() => safe(...args)) : safe(...args);
  }

  const api = window.trustdata = {
    _loaded: true,
    push: guard(([name, ...args]) => api[name](...args)),
    init: guard(init),
    event: later(track),
    consent: later(setConsent),
    setUserId: later(setUserId),
    linkIdentity: later(link),
    debug(on) {
      debugging = on;
    },
    getVisitorId: () => visitorId || anonymousId
  };
  stub.forEach(api.push);
  queue.push = api.push; // for who still holds it
})();

// The shop's own script: what a merchant writes around TrustData's.
(function () {
  'use strict';

  const { attributionId, consent } = document.currentScript.dataset;
  const all = answer => ({ analytics: answer, advertising: answer, preferences: answer, sale_of_data: answer });
  const flags = { granted: all(true), denied: all(false) };

  // Commands wait in the array until t.js has come.
  window.trustdata = window.trustdata || [];
  const tell = (...command) => window.trustdata.push(command);
  const visitorId = () => (window.trustdata._loaded && window.trustdata.getVisitorId()) || '';

  // A choice made before is known from the start. Without one, nothing is: unknown is not a no.
  tell('init', attributionId, flags[consent] ? { consent: flags[consent] } : {});

  // --- The cookie banner

  const find = id => document.getElementById(id);
  const banner = find('consent');
  const open = find('consent-open');
  const later = find('consent-later');
  const show = shown => {
    banner.hidden = !shown;
    open.hidden = shown;
  };
  open.addEventListener('click', () => {
    show(true);
    banner.querySelector('button').focus();
  });
  later.addEventListener('click', () => show(false));
  later.hidden = false;
  show(!banner.hidden);

  banner.querySelector('form').addEventListener('submit', event => {
    event.preventDefault();
    const choice = event.submitter.value;
    tell('consent', flags[choice], { interaction: true });
    show(false);
    // The shop's back end remembers the choice in a cookie of its own.
    fetch('/shop/consent', { method: 'POST', body: new URLSearchParams({ choice }), redirect: 'manual', keepalive: true });
  });

  // --- What the visitor does

  const product = document.querySelector('[data-product]');
  if (product) {
    const { product: id, name, price } = product.dataset;
    tell('event', 'view_item', { value: price, currency: 'USD', products: [{ id, name, price, quantity: 1 }] });
  }

  const checkout = find('checkout');
  if (checkout) {
    tell('event', 'begin_checkout', { value: checkout.dataset.value, currency: 'USD' });
    // The order takes the visitor id along: the back end hands it to the webhook.
    checkout.addEventListener('submit', () => {
      checkout.elements.visitor_id.value = visitorId();
    });
  }

  const shown = find('visitor');
  const refresh = () => {
    shown.textContent = visitorId() || 'none yet';
  };
  setInterval(refresh, 500);
})();

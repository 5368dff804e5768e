// Copy buttons and dialogs. Everything else works without a script, or is htmx's.
(function () {
  'use strict';

  // A form that was refused comes back open; without a script it lies on the page.
  document.querySelectorAll('dialog[open]').forEach(function (dialog) {
    dialog.close();
    dialog.showModal();
  });

  document.addEventListener('click', function (event) {
    const button = event.target.closest('button');
    if (!button) return;
    if (button.dataset.copy) {
      const source = document.getElementById(button.dataset.copy);
      const text = source.dataset.text || source.textContent;
      const label = button.dataset.label || button.textContent;
      button.dataset.label = label;
      const tell = function (word) {
        button.textContent = word;
        setTimeout(function () { button.textContent = label; }, 2000);
      };
      if (navigator.clipboard) {
        navigator.clipboard.writeText(text).then(function () { tell('Copied'); }, function () { choose(source, tell); });
      } else {
        choose(source, tell);
      }
    } else if (button.dataset.opens) {
      document.getElementById(button.dataset.opens).showModal();
    } else if (button.dataset.closes !== undefined) {
      button.closest('dialog').close();
    }
  });

  // Where a page may not write to the clipboard, the text is marked to be copied by hand.
  function choose(source, tell) {
    const range = document.createRange();
    range.selectNodeContents(source);
    const selection = window.getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
    tell('Press Ctrl+C');
  }

  // A choice that is a form of its own is sent as soon as it is made.
  document.addEventListener('change', function (event) {
    if (event.target.dataset.sends !== undefined) event.target.form.requestSubmit();
  });
})();

// Copy buttons, and recent activity that keeps itself current. Everything else works without a script, or is htmx's.
(function () {
  'use strict';

  // Says a word to who hears the page instead of seeing it.
  function aloud(word) {
    document.getElementById('aloud').textContent = word;
  }

  document.addEventListener('click', function (event) {
    const button = event.target.closest('button[data-copy]');
    if (!button) return;
    const source = document.getElementById(button.dataset.copy);
    const text = source.dataset.text || source.textContent;
    const label = button.dataset.label || button.textContent;
    button.dataset.label = label;
    const tell = function (word) {
      button.textContent = word;
      aloud(word);
      setTimeout(function () {
        button.textContent = label;
        aloud('');
      }, 2000);
    };
    if (navigator.clipboard) {
      navigator.clipboard.writeText(text).then(function () { tell('Copied'); }, function () { choose(source, tell); });
    } else {
      choose(source, tell);
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

  const activity = document.getElementById('activity');
  if (!activity) return;

  // What came while it was paused; only the newest counts.
  let waiting = null;
  let paused = false;
  const pause = document.getElementById('pause');
  pause.hidden = false;
  pause.addEventListener('click', function () {
    paused = !paused;
    pause.textContent = paused ? 'Go on' : 'Pause';
    if (!paused && waiting !== null) merge(waiting);
    waiting = null;
  });
  activity.addEventListener('htmx:sseBeforeMessage', function (event) {
    event.preventDefault();
    if (paused) waiting = event.detail.data;
    else merge(event.detail.data);
  });

  // Puts in what is new and takes out what is gone. The rest stays as it is, and with it the focus and what is marked.
  function merge(html) {
    const fresh = document.createElement('template');
    fresh.innerHTML = html;
    const rows = activity.querySelector('tbody');
    const newest = fresh.content.querySelector('tbody');
    if (!rows || !newest) {
      activity.replaceChildren(fresh.content);
      Array.from(activity.children).forEach(function (child) { htmx.process(child); });
      return;
    }
    const ids = new Set();
    let place = rows.firstElementChild;
    Array.from(newest.children).forEach(function (row) {
      ids.add(row.id);
      const there = document.getElementById(row.id);
      if (there) {
        Array.from(row.cells).forEach(function (cell, index) {
          const shown = there.cells[index];
          if (!shown.querySelector('a') && shown.innerHTML !== cell.innerHTML) shown.replaceChildren(...cell.childNodes);
        });
        place = there.nextElementSibling;
      } else {
        row.classList.add('new');
        rows.insertBefore(row, place);
        htmx.process(row);
      }
    });
    Array.from(rows.children).forEach(function (row) {
      if (!ids.has(row.id) && !row.contains(document.activeElement)) row.remove();
    });
    const older = activity.querySelector('#older');
    const link = fresh.content.querySelector('#older');
    if (older && link) older.href = link.href;
    else if (link) activity.append(link.parentElement);
  }
})();

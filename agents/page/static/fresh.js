// Keeps a page fresh: asks the API whether anything has changed, and only then fetches the page and takes over its parts.
// It stops while nobody looks, waits longer when there is no answer, and leaves alone what somebody is using.
const EVERY_MS = 10_000;
const LONGEST_MS = 120_000;
const PASSING = new Set(["age_seconds", "updated"]);

let known = null;
let wait = EVERY_MS;
let timer = 0;

function say(text) {
  const place = document.getElementById("live");
  place.hidden = false;
  place.textContent = text;
}

async function digest(path) {
  const answer = await fetch(path, { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  return JSON.stringify(await answer.json(), (name, value) => (PASSING.has(name) ? undefined : value));
}

function inUse(part) {
  const selection = document.getSelection();
  const selected = selection && !selection.isCollapsed && part.contains(selection.anchorNode);
  return selected || (document.activeElement !== document.body && part.contains(document.activeElement));
}

function sorted(part) {
  return part.querySelector("table[data-sorted]") !== null;
}

async function take(dress) {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  let whole = true;
  for (const part of document.querySelectorAll("[data-part]")) {
    const other = fresh.querySelector(`[data-part="${part.dataset.part}"]`);
    if (!other || inUse(part) || sorted(part)) whole = false;
    else {
      part.replaceChildren(...document.adoptNode(other).childNodes);
      dress(part);
    }
  }
  return whole;
}

export function keepFresh(dress) {
  const path = document.body.dataset.live;
  if (!path) return;
  const plan = () => {
    clearTimeout(timer);
    if (!document.hidden) timer = setTimeout(look, wait);
  };
  const look = async () => {
    try {
      const now = await digest(path);
      if (known !== null && now !== known) {
        const whole = await take(dress);
        say(whole ? `Updated ${new Date().toLocaleTimeString()}` : "There are newer figures: reload to see all");
        if (whole) known = now;
      } else {
        known = now;
        if (wait > EVERY_MS) say("Answers again");
      }
      wait = EVERY_MS;
    } catch (error) {
      wait = Math.min(wait * 2, LONGEST_MS);
      say(`No answer (${error.message}); shown as it was`);
    }
    plan();
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : look()));
  look();
}

"use strict";
const findings = [...document.querySelectorAll(".finding")];
const filters = [...document.querySelectorAll("[data-filter]")];
const shown = document.querySelector("#shown");

function matches(finding) {
  return filters.every(({ dataset, value }) => {
    if (!value) return true;
    if (dataset.filter === "text") return finding.textContent.toLowerCase().includes(value.toLowerCase());
    return JSON.parse(finding.dataset[dataset.filter]).includes(value);
  });
}

function filter() {
  let count = 0;
  for (const finding of findings) {
    finding.hidden = !matches(finding);
    count += !finding.hidden;
  }
  if (shown) shown.textContent = `${count} of ${findings.length}`;
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // a page that was not served from a secure place
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

document.addEventListener("click", async ({ target }) => {
  if (!target.matches("button.copy")) return;
  await copied(target.parentElement.querySelector("code").textContent);
  target.textContent = "copied";
  setTimeout(() => { target.textContent = "copy"; }, 1500);
});
for (const each of filters) each.addEventListener("input", filter);
filter();

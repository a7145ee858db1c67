"use strict";
// The menu of presets: its buttons copy, and it closes by Escape or a click elsewhere.
(() => {
  const menu = document.getElementById("presets");
  if (!menu) return;
  const said = document.getElementById("said");
  const copied = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const field = document.createElement("textarea");
      field.value = text;
      menu.append(field);
      field.select();
      document.execCommand("copy");
      field.remove();
    }
  };
  for (const button of menu.querySelectorAll("[data-clip]")) {
    button.addEventListener("click", async () => {
      await copied(button.dataset.clip);
      const { textContent } = button;
      said.textContent = button.textContent = "Copied";
      setTimeout(() => { button.textContent = textContent; said.textContent = ""; }, 1500);
    });
  }
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
  document.addEventListener("pointerdown", (event) => { if (!menu.contains(event.target)) menu.open = false; });
})();

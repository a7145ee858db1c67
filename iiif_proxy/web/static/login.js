"use strict";
// An image that is not open to whoever looks: why, where to log in, and what there is instead.
document.addEventListener("iiif-open", async ({ detail: viewer }) => {
  const { service } = viewer.world.getItemAt(0).source;
  const probe = [service].flat().find((one) => one?.type === "AuthProbeService2");
  if (!probe) return;
  const said = await (await fetch(probe.id)).json();
  if (said.status === 200) return;
  const text = (label) => label && (label[navigator.language] || label[navigator.language.slice(0, 2)] || Object.values(label)[0])?.[0];
  const $ = (id) => document.getElementById(id);
  document.body.dataset.state = "plain";
  for (const id of ["picture", "tools", "still", "share", "build"]) $(id).hidden = true;
  $("plain").hidden = false;
  const message = $("message");
  message.textContent = text(said.note) || "This image is not open to you.";
  const access = probe.service.find((one) => one.profile === "active");
  if (access && said.status === 401) {
    const button = document.createElement("button");
    button.type = "button";
    button.id = "login";
    button.textContent = text(access.confirmLabel) || text(access.label);
    button.addEventListener("click", () => {
      const login = open(`${access.id}?${new URLSearchParams({ origin: location.origin })}`);
      const waiting = setInterval(() => { if (login?.closed) { clearInterval(waiting); location.reload(); } }, 300);
    });
    message.append(document.createElement("br"), button);
  }
  const base = said.substitute?.[0]?.service?.[0]?.id;
  if (base) {
    const link = document.createElement("a");
    link.href = `${base.slice(0, base.lastIndexOf("/3/"))}/-/view/${base.slice(base.lastIndexOf("/3/") + 3)}`;
    link.textContent = "As it is open to everybody";
    message.append(document.createElement("br"), link);
  }
});

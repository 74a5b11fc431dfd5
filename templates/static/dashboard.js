// What a script adds to the dashboard; every page works without it.
(() => {
  const status = document.createElement("p");
  status.className = "unseen";
  status.setAttribute("role", "status");
  document.body.append(status);

  // Copy buttons stand hidden in the page, as they do nothing without this script.
  for (const button of document.querySelectorAll("[data-copy]")) {
    if (!navigator.clipboard) continue;
    button.hidden = false;
    button.addEventListener("click", async () => {
      const label = button.querySelector("[data-copy-label]");
      try {
        await navigator.clipboard.writeText(button.dataset.copy);
      } catch {
        status.textContent = "This browser did not allow copying. Select the text and copy it.";
        return;
      }
      status.textContent = "Copied.";
      button.classList.add("copied");
      if (label) label.textContent = "Copied";
      setTimeout(() => {
        status.textContent = "";
        button.classList.remove("copied");
        if (label) label.textContent = "Copy";
      }, 2500);
    });
  }

  // What is wrong with a form is read first.
  document.querySelector("[data-focus]")?.focus();

  // A second press of the same button would do the same thing twice; where the answer is a file, one may.
  for (const form of document.querySelectorAll("form[method=post]:not([data-stays])")) {
    form.addEventListener("submit", (event) => {
      if (form.dataset.sent) event.preventDefault();
      form.dataset.sent = "yes";
    });
  }
  addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
  });

  // Menus close when one turns away from them.
  const menus = document.querySelectorAll("details.menu");
  const close = (except) => menus.forEach((menu) => menu !== except && menu.removeAttribute("open"));
  addEventListener("click", (event) => close(event.target.closest("details.menu")));
  addEventListener("keydown", (event) => {
    const open = document.querySelector("details.menu[open]");
    if (event.key !== "Escape" || !open) return;
    close();
    open.querySelector("summary").focus();
  });
})();

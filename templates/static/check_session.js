// Tells a client's page whether anything changed here since its authorization response (OpenID Connect Session
// Management 1.0 §3.2). The page posts "CLIENT_ID SESSION_STATE"; the answer is "unchanged", "changed" or "error".
(() => {
  const prefix = `${document.currentScript.dataset.cookie}=`;

  const browserState = () => document.cookie.split("; ").find((cookie) => cookie.startsWith(prefix))?.slice(prefix.length);

  const digest = async (text) => {
    const bytes = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  };

  const answer = async (message, origin) => {
    const asked = typeof message === "string" ? /^([^ ]+) ([0-9a-f]{64})\.([0-9A-Za-z]+)$/.exec(message) : null;
    const state = browserState();
    // Without the cookie (this browser keeps none in frames of other sites) nothing is known. "changed" would send the
    // page through a silent sign-in again and again; on "error" it does not try (§3.1).
    if (!asked || origin === "null" || !state) return "error";
    const [, client, known, salt] = asked;
    return (await digest(`${client} ${origin} ${state} ${salt}`)) === known ? "unchanged" : "changed";
  };

  addEventListener("message", async (event) => {
    if (event.source === null || event.source === window) return;
    const said = await answer(event.data, event.origin);
    event.source.postMessage(said, event.origin === "null" ? "*" : event.origin);
  });
})();

// A person at a browser without scripts: follows redirects, keeps cookies, fills in the pages' forms.
// It knows only what the page contract promises: element ids, form actions, hidden fields.

class CookieJar {
  #cookies = new Map();

  store(response) {
    for (const line of response.headers.getSetCookie()) {
      const [pair, ...attributes] = line.split(';');
      const at = pair.indexOf('=');
      const name = pair.slice(0, at).trim();
      const expired = attributes.some((attribute) => /^\s*max-age=0\s*$/i.test(attribute));
      if (expired) this.#cookies.delete(name);
      else this.#cookies.set(name, pair.slice(at + 1).trim());
    }
  }

  header() {
    return [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ');
  }
}

const ENTITIES = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

function unescape(text) {
  return text
    .replace(/&#x([0-9a-f]+);/gi, (_, hex) => String.fromCodePoint(parseInt(hex, 16)))
    .replace(/&#(\d+);/g, (_, decimal) => String.fromCodePoint(Number(decimal)))
    .replace(/&(amp|lt|gt|quot|apos);/g, (_, name) => ENTITIES[name]);
}

function attributesOf(tag) {
  const attributes = {};
  for (const [, name, , double, single, bare] of tag.matchAll(/([\w-]+)(\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s">]+)))?/g)) {
    attributes[name.toLowerCase()] = unescape(double ?? single ?? bare ?? '');
  }
  return attributes;
}

function formsOf(html) {
  return [...html.matchAll(/<form\b([^>]*)>([\s\S]*?)<\/form>/gi)].map(([, opening, body]) => ({
    ...attributesOf(opening),
    inputs: [...body.matchAll(/<input\b([^>]*)>/gi)].map(([, tag]) => attributesOf(tag)),
    buttons: [...body.matchAll(/<button\b([^>]*)>/gi)].map(([, tag]) => attributesOf(tag)),
  }));
}

export class Person {
  constructor({ username, password }) {
    this.username = username;
    this.password = password;
    this.jar = new CookieJar();
    this.steps = [];
  }

  async #request(url, init = {}) {
    const response = await fetch(url, { ...init, redirect: 'manual', headers: { ...init.headers, cookie: this.jar.header() } });
    this.jar.store(response);
    this.steps.push(`${init.method ?? 'GET'} ${new URL(url).pathname} ${response.status}`);
    return response;
  }

  #answer(form, url, press) {
    const body = new URLSearchParams();
    for (const input of form.inputs) {
      if (input.id === 'username') body.set(input.name, this.username);
      else if (input.id === 'password') body.set(input.name, this.password);
      else if ((input.type ?? 'text') === 'hidden') body.append(input.name, input.value ?? '');
    }
    const button = form.buttons.find((candidate) => candidate.id === press);
    if (button?.name) body.append(button.name, button.value ?? '');
    // A browser sends Origin with every POST; the server may use it against forged requests.
    return this.#request(new URL(form.action || url, url), {
      method: 'POST',
      body,
      headers: { origin: new URL(url).origin },
    });
  }

  // Walks from `url` until the browser is sent to `redirectUri`; resolves to that URL, or to the request with the form
  // that is posted there.
  async walk(url, redirectUri, { deny = false } = {}) {
    let current = new URL(url);
    let response = await this.#request(current);
    for (let hop = 0; hop < 20; hop += 1) {
      const location = response.headers.get('location');
      if (location !== null) {
        current = new URL(location, current);
        if (current.href.startsWith(redirectUri)) return current;
        response = await this.#request(current);
        continue;
      }
      const html = await response.text();
      const posted = formsOf(html).find((form) => form.action?.startsWith(redirectUri));
      if (posted !== undefined) {
        const body = new URLSearchParams(posted.inputs.filter(({ type }) => type === 'hidden').map(({ name, value }) => [name, value ?? '']));
        return new Request(posted.action, { method: 'POST', body });
      }
      const presses = ['login-submit', deny ? 'consent-deny' : 'consent-approve'];
      const match = formsOf(html)
        .flatMap((form) => presses.map((press) => ({ form, press })))
        .find(({ form, press }) => form.buttons.some((button) => button.id === press));
      if (match === undefined) {
        throw new Error(`no form to fill in at ${current} (${response.status}) after ${this.steps.join(', ')}: ${html.slice(0, 2000)}`);
      }
      const action = new URL(match.form.action || current, current);
      response = await this.#answer(match.form, current, match.press);
      current = action;
    }
    throw new Error(`too many hops: ${this.steps.join(', ')}`);
  }
}

// A single-page app on oidc-client-ts. The test calls what a person's clicks would call, and reads what comes back.

// The settings outlive the tab: a popup has a session storage of its own.
const settings = JSON.parse(localStorage.getItem('settings') ?? 'null');

function visible(user) {
  return user && {
    profile: user.profile,
    access_token: user.access_token,
    refresh_token: user.refresh_token,
    id_token: user.id_token,
    scope: user.scope,
    expired: user.expired,
  };
}

const manager = settings && new oidc.UserManager({
  ...settings,
  redirect_uri: `${location.origin}/callback`,
  popup_redirect_uri: `${location.origin}/popup`,
  response_type: 'code',
  automaticSilentRenew: false,
  loadUserInfo: true,
  userStore: new oidc.WebStorageStateStore({ store: sessionStorage }),
});

window.app = {
  configure: (chosen) => localStorage.setItem('settings', JSON.stringify(chosen)),
  signIn: (extra) => manager.signinRedirect(extra),
  opener: () => localStorage.getItem('opener'),
  signInPopup: async () => visible(await manager.signinPopup()),
  callback: async () => visible(await manager.signinRedirectCallback()),
  callbackError: async () => {
    try {
      await manager.signinRedirectCallback();
    } catch (error) {
      return { error: error.error, name: error.name };
    }
    return null;
  },
  renew: async () => visible(await manager.signinSilent()),
  clientId: () => settings.client_id,
  revoke: () => manager.revokeTokens(['access_token', 'refresh_token']),
  // A plain cross-origin request: its status when the server lets this origin read it, `blocked` when not.
  fetch: async (url, init) => {
    try {
      const response = await fetch(url, init);
      return { status: response.status, challenge: response.headers.get('www-authenticate'), body: await response.text() };
    } catch {
      return 'blocked';
    }
  },
};

if (location.pathname === '/popup') {
  // This library would manage without its opener; others do not.
  localStorage.setItem('opener', window.opener === null ? 'lost' : 'kept');
  manager.signinPopupCallback();
}

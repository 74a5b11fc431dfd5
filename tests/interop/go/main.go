// An app written in Go that signs people in with go-oidc and x/oauth2.
//
// Reads one JSON object from standard input: address, issuer, client_id, client_secret, scopes, machine_id and
// machine_secret. Serves /sign-in, /callback (JSON: what happened), /refresh, /machine until it is ended.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

type settings struct {
	Address       string   `json:"address"`
	Issuer        string   `json:"issuer"`
	ClientID      string   `json:"client_id"`
	ClientSecret  string   `json:"client_secret"`
	Scopes        []string `json:"scopes"`
	MachineID     string   `json:"machine_id"`
	MachineSecret string   `json:"machine_secret"`
}

// attempt is what the app remembers of somebody it sent away to sign in, by their state.
type attempt struct{ nonce, verifier string }

type app struct {
	settings settings
	provider *oidc.Provider
	oauth    oauth2.Config

	lock     sync.Mutex
	attempts map[string]attempt
}

func newApp(ctx context.Context, given settings) (*app, error) {
	provider, err := oidc.NewProvider(ctx, given.Issuer)
	if err != nil {
		return nil, err
	}
	endpoint := provider.Endpoint()
	if given.ClientSecret != "" {
		// Left to guess, x/oauth2 reports the error of its second guess.
		endpoint.AuthStyle = oauth2.AuthStyleInHeader
	}
	return &app{
		settings: given,
		provider: provider,
		oauth: oauth2.Config{
			ClientID:     given.ClientID,
			ClientSecret: given.ClientSecret,
			Endpoint:     endpoint,
			RedirectURL:  "http://" + given.Address + "/callback",
			Scopes:       given.Scopes,
		},
		attempts: map[string]attempt{},
	}, nil
}

func (a *app) signIn(response http.ResponseWriter, request *http.Request) {
	state, begun := oauth2.GenerateVerifier(), attempt{oauth2.GenerateVerifier(), oauth2.GenerateVerifier()}
	a.lock.Lock()
	a.attempts[state] = begun
	a.lock.Unlock()
	http.SetCookie(response, &http.Cookie{Name: "app_state", Value: state, HttpOnly: true, SameSite: http.SameSiteLaxMode})
	options := []oauth2.AuthCodeOption{oidc.Nonce(begun.nonce), oauth2.S256ChallengeOption(begun.verifier)}
	if prompt := request.URL.Query().Get("prompt"); prompt != "" {
		options = append(options, oauth2.SetAuthURLParam("prompt", prompt))
	}
	http.Redirect(response, request, a.oauth.AuthCodeURL(state, options...), http.StatusFound)
}

// begun finds the attempt that a callback belongs to, once.
func (a *app) begun(request *http.Request) (attempt, error) {
	cookie, err := request.Cookie("app_state")
	query := request.URL.Query()
	if err != nil || cookie.Value != query.Get("state") {
		return attempt{}, errors.New("state is not this browser's")
	}
	if query.Get("iss") != a.settings.Issuer {
		return attempt{}, errors.New("iss is not the issuer")
	}
	a.lock.Lock()
	defer a.lock.Unlock()
	found, ok := a.attempts[cookie.Value]
	delete(a.attempts, cookie.Value)
	if !ok {
		return attempt{}, errors.New("state is spent")
	}
	return found, nil
}

func (a *app) callback(response http.ResponseWriter, request *http.Request) {
	found, err := a.begun(request)
	if err != nil {
		refuse(response, err)
		return
	}
	if code := request.URL.Query().Get("error"); code != "" {
		answer(response, http.StatusForbidden, map[string]any{"error": code})
		return
	}
	token, err := a.oauth.Exchange(request.Context(), request.URL.Query().Get("code"), oauth2.VerifierOption(found.verifier))
	if err != nil {
		refuse(response, err)
		return
	}
	a.report(response, request, token, found.nonce)
}

// report verifies the ID token and asks userinfo; an empty nonce is not compared.
func (a *app) report(response http.ResponseWriter, request *http.Request, token *oauth2.Token, nonce string) {
	raw, _ := token.Extra("id_token").(string)
	verified, err := a.provider.Verifier(&oidc.Config{ClientID: a.settings.ClientID}).Verify(request.Context(), raw)
	if err != nil {
		refuse(response, err)
		return
	}
	if nonce != "" && verified.Nonce != nonce {
		refuse(response, errors.New("nonce is not ours"))
		return
	}
	if err := verified.VerifyAccessToken(token.AccessToken); err != nil {
		refuse(response, err)
		return
	}
	userinfo, err := a.provider.UserInfo(request.Context(), oauth2.StaticTokenSource(token))
	if err != nil {
		refuse(response, err)
		return
	}
	answer(response, http.StatusOK, map[string]any{
		"subject": verified.Subject, "userinfo_subject": userinfo.Subject, "email": userinfo.Email,
		"access_token": token.AccessToken, "refresh_token": token.RefreshToken,
		"type": token.Type(), "seconds": time.Until(token.Expiry).Seconds(),
	})
}

// refresh has a token source find its access token out of date.
func (a *app) refresh(response http.ResponseWriter, request *http.Request) {
	stale := &oauth2.Token{RefreshToken: request.FormValue("refresh_token"), Expiry: time.Unix(1, 0)}
	token, err := a.oauth.TokenSource(request.Context(), stale).Token()
	if err != nil {
		refuse(response, err)
		return
	}
	a.report(response, request, token, "")
}

func (a *app) machine(response http.ResponseWriter, request *http.Request) {
	config := clientcredentials.Config{
		ClientID: a.settings.MachineID, ClientSecret: a.settings.MachineSecret, TokenURL: a.provider.Endpoint().TokenURL,
	}
	token, err := config.Token(request.Context())
	if err != nil {
		refuse(response, err)
		return
	}
	answer(response, http.StatusOK, map[string]any{
		"access_token": token.AccessToken, "refresh_token": token.RefreshToken, "type": token.Type(),
	})
}

func answer(response http.ResponseWriter, status int, document map[string]any) {
	response.Header().Set("Content-Type", "application/json")
	response.WriteHeader(status)
	if err := json.NewEncoder(response).Encode(document); err != nil {
		log.Print(err)
	}
}

func refuse(response http.ResponseWriter, err error) {
	document := map[string]any{"message": err.Error()}
	var retrieve *oauth2.RetrieveError
	if errors.As(err, &retrieve) {
		document["error"] = retrieve.ErrorCode
		document["description"] = retrieve.ErrorDescription
	}
	answer(response, http.StatusBadRequest, document)
}

func main() {
	var given settings
	if err := json.NewDecoder(os.Stdin).Decode(&given); err != nil {
		log.Fatal(err)
	}
	running, err := newApp(context.Background(), given)
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("GET /sign-in", running.signIn)
	http.HandleFunc("GET /callback", running.callback)
	http.HandleFunc("POST /refresh", running.refresh)
	http.HandleFunc("POST /machine", running.machine)
	log.Fatal(http.ListenAndServe(given.Address, nil))
}
